"""Incremental reads: what the connector's positions say of them, signals that are given once, and lost reads.

Method: a hand-written Connect and tables in memory; on real servers, `tests/streams/ops/test_signal.py` does the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from config.dataset import load_definition
from config.engines.base import SourceSettings
from config.settings import KafkaSettings
from ops.connector import first_reads, reads
from ops.connector.first_reads import MOST_NAMED, FirstReads, condition_of
from ops.connector.pause import FIRST_PAUSE_S
from ops.connector.reads import FORGOTTEN_S, Reads, is_resuming, place_of, position_of, tables_read
from ops.connector.rest import ConnectClient
from ops.connector.signal_table import first_read_id, read_request
from stack.errors import StackError

PROJECT_DB = load_definition("project_db")
STREAMING = {"file": "binlog.000002", "pos": 40, "row": 1}
COLLECTIONS = json.dumps([{"incremental_snapshot_collections_id": "project_db.customers"}])
READING = STREAMING | {"snapshot": "INCREMENTAL", "incremental_snapshot_collections": COLLECTIONS}
RESUMING = STREAMING | {"snapshot": "INCREMENTAL"}


class World:
    """A connector, its database and the topic of customers.

    Attributes:
        position: the connector's committed position.
        signals: kinds and contents of the signals that were given, by their ids.
        source: keys of the table's rows.
        topic: keys of the rows in its topic.
        doubtful: keys of those that may have been read out of date.
        now: seconds of the clock.
    """

    def __init__(self) -> None:
        self.position: dict[str, Any] = STREAMING
        self.signals: dict[str, tuple[str, Any]] = {}
        self.source = {("1",), ("2",)}
        self.topic: set[tuple[str, ...]] = set()
        self.doubtful: set[tuple[str, ...]] = set()
        self.now = 1_000.0
        self.said: list[str] = []

    def status(self, name: str) -> dict[str, Any]:
        return {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "RUNNING"}]}

    def config(self, name: str) -> dict[str, str]:
        return {"topic.prefix": "project_db.e1", "signal.data.collection": "project_db.millrace_signal"}

    def offsets(self, name: str) -> list[dict[str, Any]]:
        return [
            {"partition": {"server": "project_db"}, "offset": READING},
            {"partition": {"server": "project_db.e1"}, "offset": self.position},
        ]

    def give(self, connection: Any, signal_id: str, kind: str, content: Any) -> bool:
        if signal_id in self.signals:
            return False
        self.signals[signal_id] = (kind, content)
        return True


class Seen:
    """The rows in the topic."""

    def __init__(self, world: World) -> None:
        self.keys, self.doubtful = world.topic, world.doubtful

    def look(self) -> None:
        """Everything is there already."""

    def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()

    class Engine:
        def log_place(self, connection: Any) -> tuple[int, int]:
            return 2, 40

    class Connection:
        engine = Engine()

        def commit(self) -> None:
            """There is no transaction."""

        rollback = commit

    @contextmanager
    def connected(*_: Any) -> Iterator[Connection]:
        yield Connection()

    monkeypatch.setattr(reads, "connected", connected)
    monkeypatch.setattr(reads, "create_signal_table", lambda connection: None)
    monkeypatch.setattr(reads, "prod", lambda connection: None)
    monkeypatch.setattr(reads, "give_signal", found.give)
    monkeypatch.setattr(reads, "source_keys", lambda *_: found.source)
    monkeypatch.setattr(time, "monotonic", lambda: found.now)
    monkeypatch.setattr(first_reads, "SeenRows", lambda *_, **__: Seen(found))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return found


def reads_of(world: World) -> Reads:
    return Reads(PROJECT_DB, cast(SourceSettings, None), cast(ConnectClient, world))


def first_reads_of(world: World) -> FirstReads:
    kafka = KafkaSettings.read({"KAFKA_BOOTSTRAP": "kafka:9092"})
    return FirstReads(PROJECT_DB, cast(SourceSettings, None), kafka, cast(ConnectClient, world))


def test_a_position_names_the_tables_that_are_being_read() -> None:
    assert tables_read(READING) == ["customers"]
    assert tables_read(STREAMING) == []
    postgres = [{"incremental_snapshot_collections_id": "public.customers"}]
    assert tables_read({"lsn": 9, "incremental_snapshot_collections": json.dumps(postgres)}) == ["customers"]


def test_a_read_that_a_restart_has_interrupted_differs_from_one_that_has_ended() -> None:
    assert is_resuming(RESUMING)
    assert not is_resuming(READING)
    assert not is_resuming(STREAMING)


def test_a_position_has_a_place_in_either_kind_of_log() -> None:
    assert place_of(STREAMING) == (2, 40)
    assert place_of({"lsn": 77, "lsn_commit": 76}) == (0, 77)
    assert place_of({}) is None
    assert place_of({"file": "binlog.1000000", "pos": 4}) == (1_000_000, 4), "files are compared as numbers"


def test_the_position_is_that_of_the_connector_of_this_epoch(world: World) -> None:
    assert position_of(world.offsets(""), "project_db.e1") == STREAMING
    assert position_of(world.offsets(""), "project_db.e2") == {}
    assert not reads_of(world).is_reading("customers")


def test_a_signal_names_the_table_and_the_condition() -> None:
    assert read_request(PROJECT_DB, "customers") == {
        "type": "incremental",
        "data-collections": ["project_db.customers"],
    }
    conditions = read_request(PROJECT_DB, "customers", "id <= 9")["additional-conditions"]
    assert conditions == [{"data-collection": "project_db.customers", "filter": "id <= 9"}]


def test_the_first_read_is_asked_for_once_in_each_epoch(world: World) -> None:
    assert reads_of(world).begin_first() == ["customers"]
    assert reads_of(world).begin_first() == []
    assert list(world.signals) == [first_read_id("project_db.e1", "customers")]
    assert first_read_id("project_db", "customers") not in world.signals
    assert all(len(signal_id) <= 42 for signal_id in world.signals), "the table's column has 42 characters"


def test_a_connector_of_a_former_release_is_not_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "config", lambda name: {"topic.prefix": "project_db"})
    with pytest.raises(StackError, match="takes no signals yet: run `millrace connector apply`"):
        reads_of(world).begin_first()
    assert not world.signals


def test_a_signal_is_not_given_before_the_end_of_the_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def later(seconds: float) -> None:
        world.now += seconds

    monkeypatch.setattr(time, "sleep", later)
    world.position = STREAMING | {"snapshot": "INITIAL"}
    with pytest.raises(StackError, match="is reading its initial snapshot"):
        reads_of(world).begin_first()
    assert not world.signals


def test_a_read_may_be_asked_for_again_and_stopped(world: World) -> None:
    found = reads_of(world)
    assert found.begin("customers") == found.begin("customers") == world.source
    found.stop("customers")
    assert [kind for kind, _ in world.signals.values()] == ["execute-snapshot", "execute-snapshot", "stop-snapshot"]


def test_the_first_reads_are_done_when_the_topic_has_every_row(world: World) -> None:
    first = first_reads_of(world)
    assert not first.tend(world.said.append)
    world.position = READING
    assert not first.tend(world.said.append)
    world.position, world.topic = STREAMING, {("1",), ("2",), ("3",)}
    assert first.tend(world.said.append)
    assert len(world.signals) == 1
    assert world.said == ["customers: being read incrementally", "customers: all rows are in the topic"]


def test_a_read_that_ended_without_all_rows_is_asked_for_again_after_a_pause(world: World) -> None:
    """As Debezium does when the database is restarted in the middle of a part."""
    first = first_reads_of(world)
    first.tend(world.said.append)
    world.topic = {("1",)}
    assert not first.tend(world.said.append)
    assert len(world.signals) == 2
    (_, request) = list(world.signals.values())[1]
    assert request["additional-conditions"][0]["filter"] == "(`id`) IN (('2'))", "the others are there"
    assert not first.tend(world.said.append)
    assert len(world.signals) == 2, "not again at once"
    world.now += FIRST_PAUSE_S
    world.topic = {("1",), ("2",)}
    assert first.tend(world.said.append)


def test_a_read_that_a_second_kill_made_the_connector_forget_is_asked_for_again(world: World) -> None:
    first = first_reads_of(world)
    first.tend(world.said.append)
    world.position = RESUMING
    assert not first.tend(world.said.append)
    world.now += FORGOTTEN_S / 2
    assert not first.tend(world.said.append)
    assert len(world.signals) == 1, "it usually goes on soon"
    world.now += FORGOTTEN_S / 2
    assert not first.tend(world.said.append)
    assert len(world.signals) == 2


def test_reads_in_doubt_are_compared_again(world: World) -> None:
    first = first_reads_of(world)
    first.tend(world.said.append)
    world.topic = set(world.source)
    assert first.tend(world.said.append)
    world.topic.clear()
    assert first.tend(world.said.append)
    first.doubt()
    assert not first.tend(world.said.append)


def test_a_read_that_does_not_go_on_names_the_rights_that_the_connector_needs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(seconds: float) -> None:
        world.now += seconds

    monkeypatch.setattr(time, "sleep", later)
    with pytest.raises(StackError, match=r"not all rows are read after 60 s; .*INSERT and DELETE on .*millrace_signal"):
        first_reads_of(world).wait(world.said.append, limit_s=60)
    assert "2 rows are not in the topic, or were read while they changed; asked the connector" in world.said[1]
    assert "INSERT and DELETE on the table millrace_signal" in world.said[1]


def test_rows_that_a_copy_lost_are_looked_for_in_all_tables_of_postgres(world: World) -> None:
    shop = load_definition("shop")
    first = FirstReads(
        shop, cast(SourceSettings, None), cast(KafkaSettings, SimpleNamespace(bootstrap="")), cast(ConnectClient, world)
    )
    assert first.tend(world.said.append), "the initial snapshot reads them all"
    assert first.compared == {"customers", "products", "orders", "order_items"}
    world.topic = set(world.source)
    first.doubt()
    assert first.tend(world.said.append)
    assert not world.signals
    world.topic = {("1",)}
    first.doubt()
    assert not first.tend(world.said.append)
    assert len(world.signals) == 4
    assert all(f"after {FIRST_PAUSE_S:.0f} s" in line for line in world.said[-4:])
    world.topic = set(world.source)
    world.now += FIRST_PAUSE_S
    assert first.tend(world.said.append)


def test_a_row_that_may_have_been_read_out_of_date_is_asked_for_again(world: World) -> None:
    first = first_reads_of(world)
    first.tend(world.said.append)
    world.topic, world.doubtful = set(world.source), {("2",), ("deleted",)}
    assert not first.tend(world.said.append)
    (_, request), *_ = list(world.signals.values())[::-1]
    assert request["additional-conditions"][0]["filter"] == "(`id`) IN (('2'))"
    world.doubtful, world.now = set(), world.now + FIRST_PAUSE_S
    assert first.tend(world.said.append)


def test_a_row_that_is_deleted_while_it_is_looked_for_is_not_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([{("1",), ("2",)}, {("1",)}])
    monkeypatch.setattr(reads, "source_keys", lambda *_: next(answers))
    world.topic = {("1",)}
    first = first_reads_of(world)
    first.tend(world.said.append)
    assert first.tend(world.said.append)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([("7", "2"), ("10", "1")], "(\"order_id\", \"product_id\") IN (('10', '1'), ('7', '2'))"),
        ([("7", "it's")], None),
        ([("7", "a\\")], None),
        ([(str(n), "1") for n in range(MOST_NAMED + 1)], None),
    ],
)
def test_few_rows_are_asked_for_alone_and_others_with_their_whole_table(
    keys: list[tuple[str, ...]], expected: str | None
) -> None:
    assert condition_of(load_definition("shop"), "order_items", keys) == expected
