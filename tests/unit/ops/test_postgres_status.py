"""Goal: the status of a PostgreSQL source is what arrives in Kafka, whatever Connect says of the connector's task.

Method: a slot, a publication and the time of the newest heartbeat that the test makes up, without a server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

import pytest

from config.dataset import load_definition
from config.engines.base import Connection
from config.settings import environment_with
from ops.connector import postgres
from ops.connector.arrival import SILENT_S, Arrivals
from ops.connector.postgres import PostgresSource
from ops.connector.rest import ConnectClient
from ops.connector.slots import Slot

GOOD = Slot(
    name="millrace_shop",
    reader=71,
    kept_from=900,
    confirmed=1_000,
    wal_status="reserved",
    lag_bytes=10,
    kept_bytes=110,
)


def status(
    patch: pytest.MonkeyPatch, *, slot: Slot | None = GOOD, silent_s: float | None = 1.0, missing: tuple[str, ...] = ()
) -> tuple[str, bool]:
    """The lines of the status, and whether it is good."""

    @contextmanager
    def no_connection(*_: object) -> Iterator[Connection]:
        yield cast("Connection", None)

    patch.setattr(postgres, "connected", no_connection)
    patch.setattr(postgres, "read_slot", lambda *_: slot)
    patch.setattr(postgres, "unpublished", lambda *_: missing)
    newest_ms = None if silent_s is None else int((time.time() - silent_s) * 1000)
    patch.setattr(Arrivals, "newest_ms", lambda *_: newest_ms)
    environment = environment_with(
        {
            "KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "CONNECT_URL": "http://127.0.0.1:1",
            "PGHOST": "127.0.0.1",
            "PGUSER": "owner",
            "PGPASSWORD": "secret",
        }
    )
    with ConnectClient("http://127.0.0.1:1") as connect:
        lines, is_good = PostgresSource(load_definition("shop"), environment, connect).status_lines(0)
    return "\n".join(lines), is_good


def test_a_connector_whose_heartbeats_arrive_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, is_good = status(monkeypatch)
    assert is_good
    assert "stands still" not in shown


@pytest.mark.parametrize("silent_s", [SILENT_S + 1, None], ids=["for a while", "from the start"])
def test_a_connector_from_which_nothing_arrives_stands_still(
    silent_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, is_good = status(monkeypatch, silent_s=silent_s)
    assert not is_good
    assert "the connector stands still" in shown


def test_a_table_outside_the_publication_is_named_with_the_commands_that_help(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, is_good = status(monkeypatch, missing=("orders",))
    assert not is_good
    assert "lacks orders, whose changes are lost: run `millrace connector apply`" in shown


@pytest.mark.parametrize(
    "slot", [None, Slot(**{n: getattr(GOOD, n) for n in GOOD.__struct_fields__} | {"wal_status": "lost"})]
)
def test_a_slot_or_log_that_is_gone_asks_for_a_new_epoch(slot: Slot | None, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, is_good = status(monkeypatch, slot=slot)
    assert not is_good
    assert "millrace connector epoch begin" in shown


@pytest.mark.parametrize("answers", [{}, {0: -1}, {0: -1, 1: -1}])
def test_a_topic_without_records_has_no_newest_one(monkeypatch: pytest.MonkeyPatch, answers: dict[int, int]) -> None:
    found = {place: SimpleNamespace(timestamp=at) for place, at in answers.items()}
    monkeypatch.setattr(Arrivals, "_ask", lambda *_: found)
    assert Arrivals("127.0.0.1:1").newest_ms("heartbeats") is None
    found[5] = SimpleNamespace(timestamp=7)
    assert Arrivals("127.0.0.1:1").newest_ms("heartbeats") == 7
