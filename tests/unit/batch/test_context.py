"""Goal: what a run decides once, such as the anchor of all windows, is the same for all of its tables.

Method: two threads with sessions of their own, as a run has them, which ask at the same time; no server, no Spark.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batch.bronze.windows import Anchor, run_anchor
from batch.context import RunContext
from batch.storage.paths import Lake
from config.dataset import load_definition
from config.settings import LakeSettings

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TABLES = 8


def test_all_tables_of_a_run_have_the_same_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    found = itertools.count()

    def slow(*_: object, **__: object) -> Anchor:
        time.sleep(0.01)  # so that the others ask before this is known
        now = NOON + timedelta(seconds=next(found))
        return Anchor(at=now, now=now, open_s=0)

    monkeypatch.setattr("batch.bronze.windows.connected", lambda *_: nullcontext())
    monkeypatch.setattr("batch.bronze.windows.find_anchor", slow)
    session: Any = object()
    run = RunContext(
        spark=session,
        lake=Lake(bronze="b", silver="s", gold="g"),
        definition=load_definition("project_db"),
        run_id="run",
        started_at=NOON,
        settings=LakeSettings.read({}),
    )
    together = threading.Barrier(TABLES)

    def anchor(_: int) -> Anchor:
        own: Any = object()
        together.wait()
        return run_anchor(dataclasses.replace(run, spark=own), own)

    with ThreadPoolExecutor(TABLES) as threads:
        assert set(threads.map(anchor, range(TABLES))) == {Anchor(at=NOON, now=NOON, open_s=0)}
