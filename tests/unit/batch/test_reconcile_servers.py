"""Goal: reconcile asks only for the servers that a dataset needs, and names what is wrong with an order in the stream.

Method: settings in the environment; a stand-in for the reader of the topic. No server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import msgspec
import pytest

from batch.commands.reconcile import Sources
from batch.reconcile import stream
from batch.reconcile.verdict import Finding, report
from config.dataset import load_definition
from config.settings_group import SettingsError

PROJECT = load_definition("project_db")
JDBC_ONLY = msgspec.structs.replace(
    PROJECT,
    completeness=None,
    tables=[msgspec.structs.replace(table, feed="jdbc") for table in PROJECT.tables],
)


@pytest.fixture
def database_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MYSQL_HOST": "h", "MYSQL_USER": "u", "MYSQL_PASSWORD": "p"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)


@pytest.mark.usefixtures("database_only")
def test_a_dataset_without_topics_needs_no_kafka() -> None:
    assert Sources.read(JDBC_ONLY).kafka is None


@pytest.mark.usefixtures("database_only")
def test_a_dataset_with_topics_needs_kafka() -> None:
    fed_by_changes = msgspec.structs.replace(JDBC_ONLY, tables=PROJECT.tables)
    with_stream = msgspec.structs.replace(JDBC_ONLY, completeness=PROJECT.completeness)
    for definition in (fed_by_changes, with_stream):
        with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP"):
            Sources.read(definition)


class Topic:
    """A reader of a topic that has the order `a` once and `b` three times."""

    def __init__(self, *_: Any) -> None:
        self._keys = [b"a", b"b", b"b", b"b"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def visit_to_end(self, visit: Callable[[bytes | None, bytes | None], None]) -> None:
        while self._keys:
            visit(self._keys.pop(), b"")


def compared(monkeypatch: pytest.MonkeyPatch, *complete: str) -> Finding:
    monkeypatch.setattr(stream, "CommittedReader", Topic)
    monkeypatch.setattr(stream, "complete_orders", lambda *_: set(complete))
    assert PROJECT.completeness is not None
    connection: Any = None
    return stream.compare_stream(connection, PROJECT, PROJECT.completeness, "nowhere", lambda: None)


def test_an_order_that_is_repeated_in_the_stream_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = report([compared(monkeypatch, "a", "b")]).splitlines()
    assert lines[1].split()[-3:] == ["different", "(1", "repeated)"]
    assert lines[2:] == ["order_final: id=b: is in the topic 3 times"]


def test_an_order_that_is_missing_in_the_stream_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = report([compared(monkeypatch, "a", "c")]).splitlines()
    assert "order_final: id=c: is complete in the source, and missing in the topic" in lines
