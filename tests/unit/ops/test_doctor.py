"""Goal: the doctor names each fault with what to do, whatever else fails, and its exit code says whether there is one.

Method: components are replaced by functions; Redis, Connect and Kafka by what they would answer.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import ConsumerGroupState

from config.dataset import load_definition
from config.engines.faults import EngineError
from config.settings import ConnectSettings
from ops.cli import main
from ops.connector.mysql import log_faults
from ops.consumer_groups import Group
from ops.doctor import command, programs, servers
from ops.doctor.finding import Check, Finding, State, Subject, ok, unused, warning, wrong
from stack.errors import StackError
from streams.adapters.redis import RedisAwayError
from streams.model.errors import SinkAwayError

SHOP = load_definition("project_db")
SUBJECT = Subject(definition=SHOP, environment={"KAFKA_BOOTSTRAP": "127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1"})


def raising(error: Exception) -> Check:
    def check(_: Subject) -> Iterator[Finding]:
        yield warning("before it")
        raise error

    return check


def examined(checks: Mapping[str, Check], *, are_named: bool = False) -> list[tuple[str, State, str]]:
    found = command.examine(SUBJECT, list(checks), are_named=are_named, checks=checks)
    return [(name, finding.state, finding.text) for name, finding in found]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (StackError("can't reach it; is it running?"), "can't reach it; is it running?"),
        (EngineError("no log: enable log_bin"), "no log: enable log_bin"),
        (RedisAwayError("no answer"), "no answer; is it running, and is REDIS_URL right?"),
        (SinkAwayError("no answer"), "no answer; is it running, and is MINIO_ENDPOINT right?"),
    ],
)
def test_an_error_is_a_finding_and_hides_no_other(error: Exception, text: str) -> None:
    found = examined({"redis": raising(error), "kafka": lambda _: [ok("topics")]})
    assert found == [
        ("redis", State.WARNING, "before it"),
        ("redis", State.WRONG, text),
        ("kafka", State.OK, "topics"),
    ]


def test_what_is_right_is_said_only_if_nothing_else_is() -> None:
    assert examined({"kafka": lambda _: [wrong("a"), ok("b")]}) == [("kafka", State.WRONG, "a")]


@pytest.mark.parametrize(("are_named", "state"), [(False, State.UNUSED), (True, State.WRONG)])
def test_a_component_without_settings_is_unused_unless_it_was_asked_for(are_named: bool, state: State) -> None:
    [(_, found, text)] = examined({"connect": programs.connect}, are_named=are_named)
    assert found is state
    assert "CONNECT_URL" in text


def test_a_wrong_setting_is_wrong_even_beside_one_that_is_missing() -> None:
    def check(_: Subject) -> Iterator[Finding]:
        ConnectSettings.read({"CONNECTOR_PG_PORT": "no"})
        yield ok("")

    [(_, state, text)] = examined({"connect": check})
    assert state is State.WRONG
    assert "CONNECTOR_PG_PORT: " in text


@pytest.mark.parametrize(("finding", "code"), [(ok("a"), 0), (warning("a"), 0), (unused("a"), 0), (wrong("a"), 1)])
def test_the_exit_code_and_the_object_say_whether_something_is_wrong(
    finding: Finding, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "settings_environment", lambda _: {})
    monkeypatch.setitem(command.CHECKS, "kafka", lambda _: [finding])
    arguments = argparse.Namespace(components=["kafka"], dataset="project_db", json=False)
    assert command.run(arguments) == code
    assert capsys.readouterr().out.split() == ["kafka", finding.state, "a"]
    arguments = argparse.Namespace(components=["kafka"], dataset="project_db", json=True, json_members={"findings": ""})
    assert command.run(arguments) == code
    found = json.loads(capsys.readouterr().out)
    assert found == {"ok": not code, "findings": [{"component": "kafka", "state": finding.state, "text": "a"}]}


def test_an_unknown_component_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["doctor", "zookeeper"])
    assert "must be database or kafka or connect" in capsys.readouterr().err


HEALTHY = {"role": "master", "maxmemory": "100", "used_memory": "10", "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(
    ("info", "state", "text"),
    [
        ({}, State.OK, "Redis"),
        ({"maxmemory_policy": "allkeys-lru"}, State.WRONG, "set it to noeviction"),
        ({"used_memory": "95"}, State.WARNING, "95% of maxmemory"),
        ({"role": "slave"}, State.WRONG, "takes no writes"),
        ({"aof_enabled": "0"}, State.WARNING, "set appendonly yes"),
        ({"aof_last_write_status": "err"}, State.WRONG, "append-only file could not be written"),
    ],
)
def test_what_would_make_redis_lose_locks_is_named(
    info: dict[str, str], state: State, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in (HEALTHY | info).items())
    monkeypatch.setattr("streams.adapters.redis.RedisConsole.call", lambda *_: lines.encode())
    [(_, found, said)] = examined({"redis": servers.redis})
    assert found is state
    assert text in said


class FakeConnect:
    """A client of Connect that knows one status."""

    def __init__(self, status: dict[str, Any] | None) -> None:
        self._status = status

    def __call__(self, *_: object) -> FakeConnect:
        return self

    def __enter__(self) -> FakeConnect:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def status(self, _: str) -> dict[str, Any] | None:
        return self._status


@pytest.mark.parametrize(
    ("connector", "tasks", "state", "text"),
    [
        ("RUNNING", [{"state": "RUNNING"}], State.OK, "are running"),
        ("PAUSED", [{"state": "PAUSED"}], State.WARNING, "is paused"),
        ("RUNNING", [], State.WARNING, "is running: run `millrace connector status`"),
        ("RUNNING", [{"state": "FAILED", "trace": "x\nCaused by: no log"}], State.WRONG, "failed: no log"),
    ],
)
def test_a_connector_that_does_not_run_is_named(
    connector: str, tasks: list[dict[str, Any]], state: State, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "ConnectClient", FakeConnect({"connector": {"state": connector}, "tasks": tasks}))
    subject = Subject(definition=SHOP, environment={**SUBJECT.environment, "CONNECT_URL": "http://127.0.0.1:1"})
    [finding] = programs.connect(subject)
    assert finding.state is state
    assert text in finding.text


def test_a_dataset_that_is_read_by_jdbc_needs_no_connector() -> None:
    tables = tuple(msgspec.structs.replace(table, feed="jdbc") for table in SHOP.tables)
    [finding] = programs.connect(Subject(definition=msgspec.structs.replace(SHOP, tables=tables), environment={}))
    assert finding.state is State.UNUSED


GONE, NEVER, STABLE = ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD, ConsumerGroupState.STABLE


@pytest.mark.parametrize(
    ("dataset", "groups", "expected"),
    [
        ("project_db", {"millrace-orders": (NEVER, 0)}, {(State.WRONG, "millrace-orders has no worker")}),
        ("project_db", {"millrace-orders": (STABLE, 2)}, {(State.OK, "workers: millrace-orders 2")}),
        (
            "project_db",
            {"millrace-orders": (STABLE, 2), "millrace-archive": (GONE, 0)},
            {(State.WARNING, "millrace-archive has no worker"), (State.OK, "workers: millrace-orders 2")},
        ),
        (
            "project_db",
            {"millrace-orders": (ConsumerGroupState.PREPARING_REBALANCING, 2)},
            {(State.WARNING, "millrace-orders: 2 workers, whose partitions")},
        ),
        ("shop", {"millrace-archive": (NEVER, 0)}, {(State.UNUSED, "no application has ever had a worker")}),
    ],
)
def test_an_application_without_workers_is_named(
    dataset: str, groups: dict[str, Any], expected: set[tuple[State, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_workers", lambda *_: {app: Group(*group) for app, group in groups.items()})
    found = [*programs.faust(Subject(definition=load_definition(dataset), environment=SUBJECT.environment))]
    assert len(found) == len(expected)
    for state, text in expected:
        assert any(each.state is state and each.text.startswith(text) for each in found)


def test_java_and_jars_that_are_missing_are_named(tmp_path: Path) -> None:
    environment = {"SPARK_JARS": str(tmp_path), "JAVA_HOME": str(tmp_path), "SPARK_MASTER": "spark://127.0.0.1:1"}
    texts = [each.text for each in programs.spark(Subject(definition=SHOP, environment=environment))]
    assert len(texts) == 3
    assert "is not installed; Java 17 or later is needed" in texts[0]
    assert "has no delta-spark*.jar" in texts[1]
    assert "can't reach spark://127.0.0.1:1" in texts[2]


@pytest.mark.parametrize(
    ("row", "text"),
    [((0, "ROW", "FULL"), "set log_bin"), ((1, "MIXED", "FULL"), "set it to ROW"), ((1, "ROW", "MINIMAL"), "to FULL")],
)
def test_a_log_that_a_connector_cannot_read_is_named(row: tuple[Any, ...], text: str) -> None:
    class Answering:
        def rows(self, _: str) -> list[tuple[Any, ...]]:
            return [row]

    [fault] = log_faults(Answering())  # type: ignore[arg-type]
    assert text in fault
