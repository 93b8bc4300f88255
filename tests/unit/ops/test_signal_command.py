"""`millrace connector signal`: what it refuses, and that a read counts as complete only when all rows have arrived."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from config.dataset import load_definition
from ops.cli import main
from ops.connector.reads import Reads
from ops.connector.signal_command import Progress, await_rows, settle, stop
from ops.connector.topic_rows import SeenRows
from stack.errors import StackError

SETTINGS = {
    "KAFKA_BOOTSTRAP": "kafka:9092",
    "CONNECT_URL": "http://connect:8083",
    "MYSQL_HOST": "db",
    "DATASET": "project_db",
}


class Seen:
    """Rows that arrive in a topic, some with each look."""

    def __init__(self, *looks: set[tuple[str, ...]]) -> None:
        self.keys: set[tuple[str, ...]] = set()
        self.doubtful: set[tuple[str, ...]] = set()
        self._looks = list(looks)

    def arrive(self, keys: set[tuple[str, ...]]) -> None:
        self._looks.append(keys)

    def look(self) -> None:
        if self._looks:
            self.keys |= self._looks.pop(0)


class Ended:
    """A connector that has ended its read after one poll."""

    def log_end(self) -> tuple[int, int]:
        return 1, 4

    def follow(self, table: str, end: Any, *, on_poll: Callable[[], None]) -> None:
        assert (table, end) == ("customers", (1, 4))
        on_poll()


class Stopped(Ended):
    """A connector that publishes one more row of the table, and one deleted since, before it ends its read."""

    def __init__(self, seen: Seen) -> None:
        self.stopped: list[str] = []
        self._seen = seen

    def stop(self, table: str) -> None:
        self.stopped.append(table)

    def follow(self, table: str, end: Any, *, on_poll: Callable[[], None]) -> None:
        assert self.stopped == [table]
        super().follow(table, end, on_poll=on_poll)
        self._seen.arrive({("2",), ("9",)})

    def keys(self, table: str) -> set[tuple[str, ...]]:
        return WANTED


WANTED: set[tuple[str, ...]] = {("1",), ("2",), ("3",)}


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def progress(*looks: set[tuple[str, ...]]) -> Progress:
    return Progress("customers", WANTED, cast(SeenRows, Seen(*looks)))


def test_a_read_is_complete_when_each_row_has_arrived_as_read_or_changed() -> None:
    await_rows(cast(Reads, Ended()), "customers", progress({("1",)}, {("2",), ("3",), ("9",)}))


def test_rows_that_arrive_a_moment_after_the_end_are_waited_for() -> None:
    await_rows(cast(Reads, Ended()), "customers", progress({("1",)}, set(), {("2",), ("3",)}))


def test_a_read_that_ended_without_some_rows_is_an_error_that_says_how_many() -> None:
    """Debezium calls it complete, for example if its account may not write the table of signals."""
    with pytest.raises(StackError, match=r"without 2 rows: .*INSERT and DELETE on the table millrace_signal"):
        await_rows(cast(Reads, Ended()), "customers", progress({("1",)}))


class OutOfDate:
    """A connector that has read rows out of date; each further read finds one of them as it is now."""

    def __init__(self, seen: Seen, doubtful: set[tuple[str, ...]], deleted: set[tuple[str, ...]]) -> None:
        self.asked: list[str | None] = []
        self._seen, self._deleted = seen, deleted
        seen.doubtful = doubtful

    def log_end(self) -> tuple[int, int]:
        return 1, 4

    def keys(self, table: str) -> set[tuple[str, ...]]:
        return WANTED - self._deleted

    def begin(self, table: str, where: str | None) -> None:
        self.asked.append(where)

    def follow(self, table: str, end: Any, *, on_poll: Callable[[], None]) -> None:
        found = min(self._seen.doubtful - self._deleted, default=None)
        self._seen.doubtful = self._seen.doubtful - {found}


def settled(doubtful: set[tuple[str, ...]], deleted: set[tuple[str, ...]]) -> list[str | None]:
    seen = Seen()
    seen.keys |= WANTED
    connector = OutOfDate(seen, doubtful, deleted)
    shown = Progress("customers", WANTED, cast(SeenRows, seen))
    settle(cast(Reads, connector), load_definition("shop"), "customers", shown)
    return connector.asked


def test_rows_that_were_read_while_they_changed_are_read_again_until_none_is_in_doubt() -> None:
    assert settled(set(), set()) == []
    assert settled({("1",), ("3",)}, set()) == ["""("id") IN (('1'), ('3'))""", """("id") IN (('3'))"""]


def test_rows_that_were_read_while_they_were_deleted_are_left_to_a_sweep() -> None:
    with pytest.raises(StackError, match="1 rows were read while they were deleted: run `millrace connector sweep`"):
        settled({("1",), ("2",)}, {("2",)})


def test_a_read_that_is_stopped_says_how_far_it_was_once_it_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen()
    seen.keys.add(("1",))
    stop(cast(Reads, Stopped(seen)), load_definition("project_db").table("customers"), cast(SeenRows, seen))
    assert capsys.readouterr().out.splitlines()[-1] == "customers: its reads have ended; 2 of 3 rows are in the topic"


def test_the_count_is_printed_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = progress({("1",)}, {("2",)}, {("3",)})
    shown.poll()
    now += 5
    shown.poll()
    shown.poll()
    assert capsys.readouterr().out.splitlines() == ["customers: 2 of 3 rows"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "suppliers"], "has no table 'suppliers'"),
        (["--table", "customers", "--stop", "--wait"], "--stop ends all reads of the table"),
        (["--table", "customers", "--stop", "--where", "id = 1"], "--stop ends all reads of the table"),
    ],
)
def test_a_command_that_means_nothing_is_refused_before_any_server_is_asked(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    assert main(["connector", "signal", *arguments]) == 1
    assert message in capsys.readouterr().err
