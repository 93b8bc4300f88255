"""The database computes its buckets while Spark works: each query once, all on one thread, as a connection needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, cast

import pytest

from batch.reconcile.buckets import COARSE_DIGITS, Bucket
from batch.reconcile.sides import SourceSide
from config.engines.base import Connection
from config.engines.mysql import MySQL

LIMIT_S = 30.0


class FakeConnection:
    """A connection, and its cursor, that records each query and its thread, and answers every query alike."""

    def __init__(self, answer: list[tuple[Any, ...]]) -> None:
        self.answer = answer
        self.queries: list[str] = []
        self.threads: set[str] = set()
        self.go = threading.Event()

    engine = MySQL()

    def cursor(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, sql: str) -> None:
        assert self.go.wait(LIMIT_S)
        self.queries.append(sql)
        self.threads.add(threading.current_thread().name)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.answer


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, "source") as found:
        yield found


def side_of(connection: FakeConnection, thread: ThreadPoolExecutor) -> SourceSide:
    return SourceSide(cast("Connection", connection), "SELECT k, d FROM rows", thread)


def test_the_database_begins_before_its_answer_is_needed_and_answers_once(thread: ThreadPoolExecutor) -> None:
    connection = FakeConnection([(b"a7", 2, 11)])
    side = side_of(connection, thread)
    side.prefetch()
    connection.go.set()  # so far nothing waited for the answer
    assert side.buckets(COARSE_DIGITS) == {"a7": Bucket(2, 11)}
    assert side.buckets(COARSE_DIGITS) == {"a7": Bucket(2, 11)}
    assert len(connection.queries) == 1


def test_every_query_runs_on_the_one_thread(thread: ThreadPoolExecutor) -> None:
    connection = FakeConnection([("k", "d")])
    connection.go.set()
    side = side_of(connection, thread)
    assert side.rows({"a7"}) == {"k": "d"}
    connection.answer = [("a7", 2, 11)]
    side.buckets(4, {"a7"})
    side.buckets(COARSE_DIGITS)
    assert len(connection.queries) == 3
    assert {name.partition("_")[0] for name in connection.threads} == {"source"}


def test_the_rows_of_a_repeated_key_count_in_any_order(thread: ThreadPoolExecutor) -> None:
    connection = FakeConnection([("k", "b"), ("l", "c"), ("k", "a"), ("k", "a")])
    connection.go.set()
    assert side_of(connection, thread).rows({"a7"}) == {"k": "a a b", "l": "c"}


def test_an_error_of_the_database_reaches_who_asks(thread: ThreadPoolExecutor) -> None:
    connection = FakeConnection([("a7", "not a number", 11)])
    connection.go.set()
    side = side_of(connection, thread)
    side.prefetch()
    with pytest.raises(ValueError, match="not a number"):
        side.buckets(COARSE_DIGITS)
