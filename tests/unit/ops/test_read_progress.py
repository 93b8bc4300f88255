"""Goal: the watch says of each table that the connector reads how many rows are done, of about how many.

Method: a connector in memory that comes to positions as Connect's REST API returns them; Kafka's and the database's
figures are set by the test. `tests/streams/ops/test_signal.py` has real ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest
from prometheus_client.core import Metric

from config.dataset import load_definition
from ops.connector.exposition import WatchCollector
from ops.connector.read_progress import LOOK_S, EnoughError, ReadProgress, Signals
from ops.connector.rest import ConnectClient
from ops.connector.task_starts import TaskStarts
from stack.errors import StackError
from streams.adapters.redis import RedisAwayError, Script
from streams.model.table_read import ConnectorReads, TableRead
from tests.unit.ops.test_exposition import WATCH
from tests.unit.ops.watched_connector import STREAMING, Connect

DATASET = "project_db"
INITIAL = {**STREAMING, "snapshot": "INITIAL", "snapshot_completed": False}
SIGNAL = {"type": "execute-snapshot", "data": json.dumps({"data-collections": ["project_db.customers"]})}


def reading(table: str) -> dict[str, Any]:
    collections = [{"incremental_snapshot_collections_id": f"project_db.{table}"}]
    return {**STREAMING, "snapshot": "INCREMENTAL", "incremental_snapshot_collections": json.dumps(collections)}


class Project(Connect):
    """The connector of the default dataset."""

    def __init__(self) -> None:
        super().__init__()
        self.prefix = DATASET

    def status(self, name: str) -> dict[str, Any] | None:
        return None

    def at(self, position: dict[str, Any]) -> None:
        self.positions = {DATASET: position}


class Figures:
    """What Kafka and the database say."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.signalled: dict[str, int] = {}
        self.began = self.started = 0
        self.started_error: StackError | None = None
        self.asked: list[tuple[str, int]] = []
        self.error: StackError | None = None

    def epoch_began_ms(self, prefix: str) -> int:
        return self.began

    def signalled_ms(self) -> Mapping[str, int]:
        return self.signalled

    def started_ms(self) -> int:
        if self.started_error is not None:
            raise self.started_error
        return self.started

    def records_since(self, table: str, since_ms: int) -> int:
        if self.error is not None:
            raise self.error
        self.asked.append((table, since_ms))
        return self.rows.get(table, 0)

    def estimated_rows(self, table: str) -> int:
        return 1_000


class Redis:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.error: RedisAwayError | None = None
        self.written: list[ConnectorReads] = []

    def call(self, script: Script, argument: bytes) -> Any:
        if self.error is not None:
            raise self.error
        key, value, seconds = msgspec.msgpack.decode(argument)
        assert isinstance(value, str), "Redis' cmsgpack reads no bytes"
        assert key == f"connector_reads:{DATASET}"
        assert seconds > 0
        self.written.append(msgspec.json.decode(value, type=ConnectorReads))


class World:
    """The progress with everything around it."""

    def __init__(self) -> None:
        self.connect, self.figures, self.redis, self.now = Project(), Figures(), Redis(), 100.0
        self.said: list[str] = []
        self.progress = ReadProgress(
            load_definition(DATASET),
            cast(ConnectClient, self.connect),
            self.figures,
            self.redis,
            say=self.said.append,
            clock=lambda: self.now,
        )

    def look(self) -> dict[str, tuple[int, bool]]:
        self.now += LOOK_S
        self.progress.look()
        return {read.table: (read.rows, read.is_under_way) for read in self.progress.tables}


@pytest.fixture
def world() -> World:
    return World()


def test_an_initial_snapshot_is_counted_from_the_beginning_until_it_has_ended(world: World) -> None:
    assert world.look() == {}, "nothing is read"
    world.connect.at(INITIAL)
    world.figures.rows = {"orders": 10}
    under_way = world.look()
    assert under_way["orders"] == (10, True)
    assert "customers" not in under_way, "the definition leaves it out of the initial snapshot"
    world.figures.rows = {"orders": 25, "payment_method": 12}
    world.connect.at(STREAMING)
    ended = world.look()
    assert (ended["orders"], ended["payment_method"]) == ((25, False), (12, False))
    world.figures.rows = {"orders": 99}
    assert world.look() == ended, "later changes are no rows of the snapshot"
    assert {since for _, since in world.figures.asked} == {0}
    assert all(read.estimated == 1_000 for read in world.progress.tables)


def test_a_read_is_counted_from_the_signal_that_asked_for_it_and_a_later_one_anew(world: World) -> None:
    world.figures.began, world.figures.signalled = 500, {"customers": 7_000}
    world.connect.at(reading("customers"))
    world.figures.rows = {"customers": 40}
    assert world.look() == {"customers": (40, True)}
    world.connect.at(STREAMING)
    world.look()
    world.figures.signalled, world.figures.rows = {"customers": 9_000}, {"customers": 3}
    world.connect.at(reading("customers"))
    assert world.look() == {"customers": (3, True)}
    assert world.figures.asked == [("customers", 7_000), ("customers", 7_000), ("customers", 9_000)]


def test_the_snapshot_of_an_epoch_is_counted_from_its_beginning(world: World) -> None:
    world.figures.began, world.figures.signalled = 500, {"orders": 20}
    world.connect.at(INITIAL)
    world.look()
    assert {since for _, since in world.figures.asked} == {500}, "the signal was given to the former connector"


def test_a_snapshot_that_is_interrupted_and_begins_again_is_counted_from_its_new_beginning(world: World) -> None:
    world.figures.began, world.figures.started = 500, 600
    world.connect.at(INITIAL)
    world.figures.rows = {"orders": 900}
    assert world.look()["orders"] == (900, True)
    world.figures.asked.clear()
    world.figures.started, world.figures.rows = 8_000, {"orders": 20}
    assert world.look()["orders"] == (20, True), "not the 900 of the attempt before"
    world.figures.rows = {"orders": 1_000}
    world.connect.at(STREAMING)
    world.figures.started = 9_000
    assert world.look()["orders"] == (1_000, False), "a start after the snapshot has ended begins no new one"
    assert {since for _, since in world.figures.asked} == {8_000}


def test_a_watch_that_begins_after_the_interruption_counts_the_present_attempt_only(world: World) -> None:
    world.figures.started = 8_000
    world.connect.at(INITIAL)
    world.look()
    assert {since for _, since in world.figures.asked} == {8_000}


def test_an_incremental_read_that_is_interrupted_goes_on_and_so_do_its_figures(world: World) -> None:
    world.figures.signalled, world.figures.started = {"customers": 7_000}, 8_000
    world.connect.at(reading("customers"))
    world.look()
    assert world.figures.asked == [("customers", 7_000)]


def test_without_the_status_topic_of_connect_rows_are_counted_from_the_epoch_and_the_watch_says_so(
    world: World,
) -> None:
    world.figures.began, world.figures.started_error = 500, StackError("topic millrace-connect-status does not exist")
    world.connect.at(INITIAL)
    world.figures.rows = {"orders": 10}
    for _ in range(2):
        assert world.look()["orders"] == (10, True)
    assert [line.rpartition(": ")[2] for line in world.said] == ["topic millrace-connect-status does not exist"]


def test_a_start_is_a_task_that_begins_to_run_not_one_that_was_paused() -> None:
    def starts(*records: tuple[str, str | None]) -> int:
        found = TaskStarts("shop-connector")
        for at_ms, (task, state) in enumerate(records, 1):
            value = None if state is None else json.dumps({"state": state, "trace": None, "generation": 3}).encode()
            found.take(f"status-{task}".encode(), value, at_ms)
        return found.newest_ms

    task = "task-shop-connector-0"
    assert starts() == 0
    assert starts((task, "RUNNING"), (task, "FAILED")) == 1
    assert starts((task, "RUNNING"), (task, "FAILED"), (task, "RUNNING")) == 3
    assert starts((task, "RUNNING"), (task, "UNASSIGNED"), (task, "RUNNING")) == 3
    assert starts((task, "RUNNING"), (task, "PAUSED"), (task, "RUNNING")) == 1, "it goes on where it was"
    assert starts((task, "PAUSED"), (task, None), (task, "RUNNING")) == 3, "it was deleted and created again"
    others = ["connector-shop-connector", "task-shop-connector-2-0", "task-shop-connector-x", "task-shop-0", "topic-x"]
    assert starts(*((other, "RUNNING") for other in others)) == 0
    spoilt = TaskStarts("shop-connector")
    for key, value in ((None, b"{}"), (b"status-task-shop-connector-0", b"[]"), (b"status-task-shop-connector-0", b"")):
        spoilt.take(key, value, 9)
    assert spoilt.newest_ms == 0


def test_the_figures_stay_while_a_server_does_not_answer_and_redis_costs_only_the_page(world: World) -> None:
    world.connect.at(reading("customers"))
    world.figures.rows = {"customers": 5}
    world.redis.error = RedisAwayError("away")
    assert world.look() == {"customers": (5, True)}
    world.figures.error = StackError("Kafka does not answer")
    for _ in range(2):
        assert world.look() == {"customers": (5, True)}
    assert [line.partition(":")[0] for line in world.said] == ["away", "the rows of a read cannot be counted"], "once"
    world.redis.error = world.figures.error = None
    world.figures.rows = {"customers": 6}
    assert world.look() == {"customers": (6, True)}
    assert [[read.rows for read in written.tables] for written in world.redis.written] == [[6]]


def test_servers_are_asked_every_few_seconds_only(world: World) -> None:
    world.connect.at(reading("customers"))
    world.look()
    world.now += LOOK_S / 2
    world.progress.look()
    assert len(world.figures.asked) == 1


def test_a_signal_names_its_tables_and_all_other_rows_none() -> None:
    def record(op: str = "c", **after: Any) -> bytes:
        return json.dumps({"op": op, "ts_ms": 12, "after": after}).encode()

    def asked(*values: bytes | None, until_ms: int = 12) -> dict[str, int]:
        signals = Signals(until_ms=until_ms)
        for value in values:
            signals.take(None, value)
        return signals.asked_ms

    assert asked(record(**SIGNAL)) == {"customers": 12}
    others = [None, b"", b"[]", record("d", **SIGNAL), record(type="snapshot-window-open", data="{}")]
    others += [record(type="execute-snapshot", data=data) for data in (None, "", "[]", '{"data-collections": 1}')]
    assert asked(*others) == {}
    with pytest.raises(EnoughError):
        asked(record(**SIGNAL), until_ms=11)


def test_the_metrics_have_rows_done_and_estimated_by_table() -> None:
    reads = [
        TableRead(table="customers", rows=5, estimated=9, is_under_way=True),
        TableRead(table="orders", rows=3, estimated=None, is_under_way=False),
    ]
    families: list[Metric] = [*WatchCollector("c", WATCH, lambda: None, lambda: reads).collect()]
    found = {
        (sample.name, sample.labels["table"]): sample.value
        for family in families
        for sample in family.samples
        if "table" in sample.labels
    }
    assert found == {
        ("millrace_snapshot_rows", "customers"): 5,
        ("millrace_snapshot_rows", "orders"): 3,
        ("millrace_snapshot_estimated_rows", "customers"): 9,
        ("millrace_snapshot_under_way", "customers"): 1,
        ("millrace_snapshot_under_way", "orders"): 0,
    }
