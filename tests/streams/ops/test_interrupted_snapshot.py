"""Goal: a snapshot that is interrupted and begins again is not counted twice.

Method: a slow connector whose Connect is killed in the middle of its initial snapshot; what the watch counts is
compared with the offsets of the topic. `tests/unit/ops/test_read_progress.py` does so without servers on every push.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ops.connector.read_progress import LOOK_S, ReadProgress
from stack.site import REPOSITORY
from streams.model.table_read import TableRead
from tests.streams.ops.test_signal import Shop, make_shop, wait_for

__all__ = ["make_shop"]

STORES = 30_000
ENOUGH = 2_000
"""Rows after which Connect is killed."""


def fill(shop: Shop) -> None:
    values = ", ".join(f"({number})" for number in range(2, STORES + 1))
    with shop.connected() as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO stores VALUES {values}")  # noqa: S608 - numbers
        connection.commit()


@contextmanager
def applying() -> Iterator[None]:
    """Create the connector; the command waits for the end of the snapshot, and fails when Connect is killed."""
    with subprocess.Popen([sys.executable, "-m", "ops.cli", "connector", "apply"], cwd=REPOSITORY) as command:
        try:
            yield
        finally:
            command.kill()


def seen(progress: ReadProgress) -> TableRead | None:
    """The read of the table as the watch counts it now."""
    time.sleep(LOOK_S / 2)
    progress.look()
    return next((read for read in progress.tables if read.table == "stores"), None)


@pytest.mark.nightly
@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_a_snapshot_that_begins_again_counts_only_what_the_present_attempt_has_read(
    engine: str, make_shop: Callable[[str, int], Shop]
) -> None:
    shop = make_shop(engine, 10)
    fill(shop)
    servers = shop.servers()
    with applying(), shop.progress() as progress:
        wait_for(lambda: (read := seen(progress)) is not None and read.rows > ENOUGH)
        shop.stack.kill("connect")
        first = servers.records_since("stores", 0)
        shop.stack.up(only=["connect"])
        found: list[TableRead] = []

        def has_ended() -> bool:
            found.extend(read for read in [seen(progress)] if read is not None)
            return not found[-1].is_under_way

        wait_for(has_ended)
        whole = servers.records_since("stores", 0)
    print(f"{first:,} offsets before the kill, {whole:,} at the end, then {found[-1]}; {len(found)} looks")
    again = [read for read in found if read.rows < first]
    assert again, "it begins again from 0"
    assert STORES <= found[-1].rows <= whole - first, "all rows, and nothing of the first attempt"
