"""Goal: each completed snapshot is followed by a sweep, also if the process or the connector was killed in between.

Method: notifications as Debezium writes them, in a consumer that is a list; the sweep is counted. The real one runs in
row 23 of the faults.
"""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from config.dataset import load_definition
from ops import cli
from ops.connector import commands, watch
from ops.connector.sweep import SweptTable
from ops.connector.watch import Snapshots, SnapshotWatch, decode
from stack.errors import StackError
from streams.topics import TopicSpec
from tests.support.builders import as_json

SWEPT = [SweptTable(table="orders", topic_rows=3, gone=1)]


def notification(kind: str, aggregate: str = "Initial Snapshot") -> bytes:
    data = {"connector_name": "project_db"}
    return as_json({"id": "1", "aggregate_type": aggregate, "type": kind, "additional_data": data, "timestamp": 1})


def ends(*kinds: str) -> list[bool]:
    snapshots = Snapshots()
    return [snapshots.ends(decode(notification(kind))) for kind in kinds]


def test_a_snapshot_ends_when_it_is_complete() -> None:
    assert ends("STARTED", "IN_PROGRESS", "TABLE_SCAN_COMPLETED", "COMPLETED") == [False, False, False, True]
    assert ends("STARTED", "ABORTED", "STARTED", "COMPLETED") == [False, False, False, True]


def test_a_snapshot_whose_end_was_not_reported_ends_when_it_is_skipped() -> None:
    assert ends("STARTED", "IN_PROGRESS", "SKIPPED", "SKIPPED") == [False, False, True, False]


def test_a_connector_that_begins_where_it_ended_needs_no_sweep() -> None:
    assert ends("SKIPPED", "SKIPPED") == [False, False]


@pytest.mark.parametrize(
    "value", [None, b"", b"{ no json", b'{"id":1}', notification("COMPLETED", "Incremental Snapshot")]
)
def test_other_records_end_no_snapshot(value: bytes | None) -> None:
    assert not Snapshots().ends(decode(value))


def test_the_converters_wrapper_is_taken_off() -> None:
    assert Snapshots().ends(decode(b'{"schema":{},"payload":' + notification("COMPLETED") + b"}"))


class Message:
    def __init__(self, value: bytes | None, error: int | None = None) -> None:
        self._value = value
        self._error = error

    def value(self) -> bytes | None:
        return self._value

    def error(self) -> KafkaError | None:
        return None if self._error is None else KafkaError(self._error)


class Consumer:
    """A consumer that returns one list of messages after the other."""

    def __init__(self, *batches: list[Message]) -> None:
        self.commits = 0
        self._batches = list(batches)

    def assign(self, _: Any) -> None: ...
    def close(self) -> None: ...
    def consume(self, _: int, __: float) -> list[Message]:
        return self._batches.pop(0) if self._batches else []

    def commit(self, **_: Any) -> None:
        self.commits += 1


def watched(monkeypatch: pytest.MonkeyPatch, consumer: Consumer, swept: Any = SWEPT) -> SnapshotWatch:
    def sweep(*_: Any, **__: Any) -> Any:
        if isinstance(swept, Exception):
            raise swept
        return iter(swept)

    monkeypatch.setattr(watch, "committed_consumer", lambda *_, **__: consumer)
    monkeypatch.setattr(watch, "sweep", sweep)
    database: Any = None
    return SnapshotWatch(database, "nowhere:1", load_definition("project_db"))


def test_notifications_are_committed_after_the_sweep_that_they_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    started, completed = Message(notification("STARTED")), Message(notification("COMPLETED"))
    consumer = Consumer([started], [completed])
    with watched(monkeypatch, consumer) as watch:
        assert (watch.step(0), consumer.commits) == ([], 0), "a snapshot is running: its start must be read again"
        assert (watch.step(0), consumer.commits) == (SWEPT, 1)
        assert (watch.step(0), consumer.commits) == (None, 1)


def test_a_sweep_that_fails_is_repeated_by_the_next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer([Message(notification("COMPLETED"))])
    with watched(monkeypatch, consumer, StackError("too many")) as watch, pytest.raises(StackError):
        watch.step(0)
    assert consumer.commits == 0


def test_a_missing_topic_is_named_and_a_broker_that_is_away_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    away, missing = Message(None, KafkaError._TRANSPORT), Message(None, KafkaError.UNKNOWN_TOPIC_OR_PART)
    with watched(monkeypatch, Consumer([away], [missing])) as watch:
        assert watch.step(0) is None
        with pytest.raises(StackError, match=r"notifications\.project_db.*topics apply"):
            watch.step(0)


def test_a_connector_is_not_applied_before_its_topic_exists(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_: Any, specs: list[TopicSpec]) -> None:
        raise StackError(f"{specs[0].name}: topic expected with 1 partitions, found none")

    monkeypatch.setattr(commands, "check_topics", missing)
    monkeypatch.setattr(commands, "ConnectClient", lambda _: pytest.fail("Connect was asked"))
    for name, value in {"KAFKA_BOOTSTRAP": "nowhere:1", "CONNECT_URL": "http://nowhere", "MYSQL_HOST": "db"}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["connector", "apply"]) == 1
    assert "notifications.project_db" in capsys.readouterr().err
