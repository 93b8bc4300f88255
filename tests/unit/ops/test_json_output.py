"""Goal: with `--json`, a command prints one JSON object on stdout and nothing else, in the shape that it declares.

Method: the commands run in this process; where they need a server, a function that asks it is replaced.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from agents.guard.locks import Lock
from batch.__main__ import main as lake
from config.json_output import MEMBERS, add_json_option, print_json
from ops import locks, schemas, topics
from ops.cli import main, parser
from ops.connector import commands as connector
from ops.connector.rest import ConnectClient
from ops.connector.source_columns import Difference
from ops.dataset.oracle import Verdict
from ops.dead_letters import commands as dead_letters
from ops.dead_letters.letter import DeadLetter, RecordRef, read_record
from ops.dead_letters.summary import Selection, Summary
from ops.topic_differences import ExistingTopic
from stack import commands as stack
from stack.health import ServerStatus
from streams.topics import ORDER_FINAL, catalogue, topic_config

SERVERS = {
    "KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "REDIS_URL": "redis://127.0.0.1:1",
    "CONNECT_URL": "http://127.0.0.1:1",
    "CONNECTOR_DATABASE_HOST": "127.0.0.1",
    "CONNECTOR_KAFKA_BOOTSTRAP": "127.0.0.1:1",
}
SPECS = catalogue(dataset="project_db", app_id="millrace-orders", order_partitions=4)

Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Run a command with these words and `--json`, expect an exit code, and return the members of what it prints."""
    for name, value in SERVERS.items():
        monkeypatch.setenv(name, value)

    def run(*words: str, exit_code: int = 0, program: Callable[[list[str]], int] = main) -> dict[str, Any]:
        assert program([*words, "--json"]) == exit_code
        members: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert members.pop("ok") is (exit_code == 0)
        return members

    return run


def test_a_member_that_is_not_declared_is_a_mistake_in_the_program() -> None:
    own = argparse.ArgumentParser()
    add_json_option(own, number="a number")
    with pytest.raises(AssertionError, match="declared"):
        print_json(own.parse_args([]), nummer=1)


@pytest.mark.parametrize("health", ["healthy", "no answer"])
def test_the_servers(answer: Answer, monkeypatch: pytest.MonkeyPatch, health: str) -> None:
    found = ServerStatus(server="kafka", state="running", pid=7, port=9, uptime_seconds=1.5, health=health)
    monkeypatch.setattr(stack, "_existing", lambda _: argparse.Namespace(status=lambda: [found]))
    is_healthy = health == "healthy"
    [server] = answer("status", exit_code=0 if is_healthy else 1)["servers"]
    assert (server["server"], server["healthy"], server["uptime_s"]) == ("kafka", is_healthy, 1.5)


def test_the_topics(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {
        spec.name: ExistingTopic(partitions=spec.partitions, replicas=1, config=topic_config(spec, 1)) for spec in SPECS
    }
    monkeypatch.setattr(topics, "describe_topics", lambda *_: there)
    assert answer("topics", "check") == {"topics": len(SPECS), "differences": []}
    del there[ORDER_FINAL]
    [difference] = answer("topics", "check", exit_code=1)["differences"]
    assert difference["topic"] == ORDER_FINAL
    assert difference["remedy"]


@pytest.mark.parametrize(
    ("status", "exit_code", "expected"),
    [
        (None, 1, (None, 0, None)),
        ({"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "RUNNING"}]}, 0, ("RUNNING", 1, None)),
        (
            {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "FAILED", "trace": "why\nwhere"}]},
            1,
            ("RUNNING", 1, "why"),
        ),
    ],
)
def test_the_connector(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, status: Any, exit_code: int, expected: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(ConnectClient, "status", lambda *_: status)
    monkeypatch.setattr(ConnectClient, "config", lambda *_: {"topic.prefix": "project_db"})
    collections = '[{"incremental_snapshot_collections_id": "project_db.customers"}]'
    position = {"partition": {"server": "project_db"}, "offset": {"incremental_snapshot_collections": collections}}
    monkeypatch.setattr(ConnectClient, "offsets", lambda *_: [position])
    found = answer("connector", "status", exit_code=exit_code)
    assert (found["state"], len(found["tasks"]), found["failure"]) == expected
    assert found["connector"] == "project_db-connector"
    assert found["reading"] == (["customers"] if status else [])


@pytest.mark.parametrize(("is_wrong", "exit_code"), [(False, 0), (True, 1)])
def test_the_connector_of_a_source_that_differs_from_its_definition(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, is_wrong: bool, exit_code: int
) -> None:
    for name, value in (("HOST", "127.0.0.1"), ("USER", "owner"), ("PASSWORD", "word")):
        monkeypatch.setenv(f"MYSQL_{name}", value)
    running = {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "RUNNING"}]}
    monkeypatch.setattr(ConnectClient, "status", lambda *_: running)
    monkeypatch.setattr(ConnectClient, "config", lambda *_: {})
    monkeypatch.setattr(ConnectClient, "offsets", lambda *_: [])
    difference = Difference(table="orders", text="the definition lacks colour", is_wrong=is_wrong)
    monkeypatch.setattr(connector, "compared", lambda *_: [difference])
    assert answer("connector", "status", exit_code=exit_code)["source"] == [str(difference)]


def test_the_locks(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    there = [(Lock("claimed", "a", "f" * 32), 60), (Lock("emitted", "a", "f" * 32), -1), (Lock("released", "", ""), 5)]
    monkeypatch.setattr(locks, "_redis", lambda _: nullcontext())
    monkeypatch.setattr(locks, "_pages", lambda _: [["key"]])
    monkeypatch.setattr(locks, "_read", lambda *_: there)
    released, claimed = answer("locks", "list")["locks"]
    assert (released["app"], released["other"], released["longest_s"]) == (None, 1, 5)
    assert (claimed["app"], claimed["claimed"], claimed["emitted"]) == ("a", 1, 1)
    assert (claimed["shortest_s"], claimed["longest_s"]) == (60, None)
    del there[1:]
    assert answer("locks", "show", "x") == {
        "order_id": "x", "state": "claimed", "app": "a", "incarnation": "f" * 32, "expires_in_s": 60,
    }  # fmt: skip
    there.clear()
    assert answer("locks", "show", "x", exit_code=1)["state"] is None


class Letters:
    """A reader of dead letters that has one, whose value is not UTF-8."""

    def __init__(self, _bootstrap: str) -> None:
        pass

    def __enter__(self) -> Letters:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def at(self, place: RecordRef) -> DeadLetter:
        found = read_record(place, 7, "ключ".encode(), b"\xff", [("reason", b"why"), ("empty", None)])
        assert isinstance(found, DeadLetter)
        return found


def test_a_dead_letter_with_all_its_bytes(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "DeadLetterReader", Letters)
    letter = answer("dead-letters", "show", "2:17")["letter"]
    assert (letter["place"], letter["written_ms"], letter["reason"]) == ("2:17", 7, "why")
    assert (letter["key"], letter["value"]) == ({"text": "ключ"}, {"base64": "/w=="})
    assert letter["headers"] == [{"name": "reason", "value": {"text": "why"}}, {"name": "empty", "value": None}]
    assert letter["origin"] is None
    assert letter["fault"]


def test_the_schemas(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer("schemas", "check") == {"faults": []}
    monkeypatch.setattr(schemas, "schema_faults", lambda _: ["a: is missing"])
    assert answer("schemas", "check", exit_code=1) == {"faults": ["a: is missing"]}


def test_the_dictionary(answer: Answer) -> None:
    found = answer("dictionary", "--check", program=lake)
    assert found["up_to_date"] is True
    assert found["file"].endswith("dictionary.md")


def declared(*words: str) -> set[str]:
    return set(vars(parser(words[0]).parse_args(words))[MEMBERS])


def test_what_needs_a_server_declares_its_members_too() -> None:
    verdict = Verdict(complete=0, records=0, distinct=0, duplicates=0, missing=[], unexpected=[], malformed=[])
    assert declared("dataset", "check") == {*verdict.figures(), "repaired"}
    assert declared("dead-letters", "list") == Summary(Selection(), limit=1).fields().keys()


def test_a_failure_leaves_stdout_empty(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "nowhere")
    assert main(["topics", "check", "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "KAFKA_BOOTSTRAP" in said.err
