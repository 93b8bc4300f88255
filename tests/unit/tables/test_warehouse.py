"""Goal: a turn of the warehouse is one transaction, and a refused value costs its own row only.

Method: `WarehouseCommitter` over a database in memory that refuses what it is told to; the statements themselves run on
a real one in the integration tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import pytest
from faust.types import TP

from streams.adapters.postgres import DatabaseAwayError, ValueRefusedError
from streams.model.errors import SinkAwayError
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.stats import RuntimeStats
from streams.runtime.testing import Consumed
from streams.topics import DEAD_LETTERS
from tables.warehouse.committer import MOST_ROWS, REFUSED_MAX, Load, WarehouseCommitter, WarehouseSink

TOPIC = "shop.customers"
FOLDED_LETTER = OutputRecord(DEAD_LETTERS, b"7", b"{", (("reason", b"no JSON"),))


class MemoryDatabase:
    """A client of a database with one offset and rows.

    Attributes:
        refused: rows that the database refuses.
        away: raised by the next commit; with True the commit has taken effect.
        statements: number of rows of each statement that was run.
    """

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.offset: tuple[Any, int | None, str | None] | None = None
        self.refused: set[int] = set()
        self.away: bool | None = None
        self.statements: list[int] = []
        self.away_since: float | None = None
        self.is_closed = False

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        transaction = MemoryTransaction(self)
        yield transaction
        has_committed, self.away = self.away, None
        if has_committed is not False:
            self.rows, self.offset = transaction.rows_now, transaction.offset
        if has_committed is not None:
            raise DatabaseAwayError("no answer")

    async def close(self) -> None:
        self.is_closed = True


class MemoryTransaction:
    """Runs the committer's statements by their first words."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self.rows_now = list(database.rows)
        self.offset = database.offset

    async def run(self, statement: str, values: Sequence[Any]) -> int:
        if statement == "load":
            return self._load(values[0])
        if "SET topic_id" in statement:
            return self._change(values[-1], lambda owner, next_: (owner, next_, values[0]))
        next_offset, *_, owner, expected = values
        if self.offset is None or self.offset[1] != expected:
            return 0
        return self._change(owner, lambda owner, next_: (owner, next_offset, None))

    async def run_apart(self, statement: str, values: Sequence[Any]) -> int:
        return self._load(values[0])

    async def rows(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if statement.startswith("SELECT"):
            return [] if self.offset is None else [self.offset[:2]]
        *_, owner = values
        _, next_offset, topic_id = self.offset or (None, None, None)
        self.offset = (owner, next_offset, topic_id)
        return [(next_offset, topic_id)]

    def _change(self, owner: Any, new: Any) -> int:
        if self.offset is None or self.offset[0] != owner:
            return 0
        self.offset = new(*self.offset[:2])
        return 1

    def _load(self, rows: Sequence[int]) -> int:
        self._database.statements.append(len(rows))
        if self._database.refused & set(rows):
            raise ValueRefusedError("no such value")
        new = [row for row in rows if row not in self.rows_now]
        self.rows_now += new
        return len(new)


class Worker:
    """What a sink asks of its application."""

    def __init__(self) -> None:
        self.conf = self
        self.id = "shop.warehouse"
        self.partition_supervisor = self
        self.group_offsets: dict[TP, int] = {}
        self.stats = RuntimeStats()

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        self.group_offsets.update(offsets)


class Letters:
    """Keeps dead letters, and what the database had committed when they came."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.kept: list[tuple[OutputRecord, list[int]]] = []
        self._database = database

    async def keep(self, records: Sequence[OutputRecord]) -> None:
        self.kept += [(record, list(self._database.rows)) for record in records]

    async def close(self) -> None:
        return


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def sink(database: MemoryDatabase, worker: Worker) -> WarehouseSink:
    sink = WarehouseSink(cast(Any, database), cast(TransactionalApp, worker), schema="shop")
    sink.dead_letters = cast(Any, Letters(database))
    return sink


def letters_of(sink: WarehouseSink) -> list[tuple[OutputRecord, list[int]]]:
    """The dead letters that were kept."""
    return cast(Letters, sink.dead_letters).kept


async def opened(sink: WarehouseSink, *, refuses: bool = True) -> tuple[WarehouseCommitter, int | None]:
    def refuse(record: Any, reason: str) -> OutputRecord:
        return OutputRecord(DEAD_LETTERS, record.key, record.value, (("reason", reason.encode()),))

    load = Load("load", lambda contents: [contents])
    committer = sink.committers(TOPIC, load, refuse if refuses else None)(3)
    await committer.open()
    return committer, (await committer.committed())[TOPIC]


async def write(committer: WarehouseCommitter, to: int, *rows: int, letter: bool = False) -> None:
    outputs = [
        OutputRecord("dim", None, None, source=Consumed(TOPIC, 3, row, b"%d" % row, b"{}"), content=row) for row in rows
    ]
    await committer.commit([*outputs, *([FOLDED_LETTER] if letter else [])], {TOPIC: to})


async def test_rows_and_offset_are_committed_together_and_the_group_is_told(
    sink: WarehouseSink, database: MemoryDatabase, worker: Worker
) -> None:
    committer, start = await opened(sink)
    assert start is None
    await write(committer, 5, 1, 2)
    await write(committer, 7, 2, 3)
    await committer.check()
    assert (database.rows, worker.group_offsets) == ([1, 2, 3], {TP(TOPIC, 3): 7})
    assert sink.counts == {"written": 3, "passed_over": 1, "refused": 0}
    assert (await opened(sink))[1] == 7


@pytest.mark.parametrize("has_committed", [False, True])
async def test_a_commit_without_an_answer_is_looked_up_by_the_next_owner(
    sink: WarehouseSink, database: MemoryDatabase, has_committed: bool
) -> None:
    committer, _ = await opened(sink)
    database.away = has_committed
    with pytest.raises(SinkAwayError):
        await write(committer, 5, 1)
    assert sink.counts["written"] == 0
    again, start = await opened(sink)
    assert start == (5 if has_committed else None)
    await write(again, 6, 1)
    assert database.rows == [1]


async def test_a_former_owner_and_one_with_another_offset_write_nothing(
    sink: WarehouseSink, database: MemoryDatabase
) -> None:
    zombie, _ = await opened(sink)
    owner, _ = await opened(sink)
    for attempt in (write(zombie, 5, 1), zombie.check(), zombie.keep_source_ids({TOPIC: "a"})):
        with pytest.raises(SinkAwayError):
            await attempt
    await write(owner, 5, 2)
    database.offset = (owner._owner, 4, None)  # restored from a dump
    for attempt in (write(owner, 6, 3), owner.check()):
        with pytest.raises(SinkAwayError):
            await attempt
    database.offset = None  # emptied
    with pytest.raises(SinkAwayError):
        await owner.check()
    assert database.rows == [2]


async def test_refused_rows_are_found_by_halving_and_kept_before_the_commit(
    sink: WarehouseSink, database: MemoryDatabase
) -> None:
    committer, _ = await opened(sink)
    database.refused = {7, 60}
    await write(committer, 64, *range(64))
    assert sorted(database.rows) == sorted({*range(64)} - {7, 60})
    assert [(letter.key, rows) for letter, rows in letters_of(sink)] == [(b"7", []), (b"60", [])]
    assert letters_of(sink)[0][0].headers == (("reason", b"refused by the warehouse: no such value"),)
    assert sink.counts == {"written": 62, "passed_over": 0, "refused": 2}
    assert len(database.statements) < 30
    assert (await opened(sink))[1] == 64


async def test_more_refused_rows_than_a_commit_has_time_for_make_the_partition_wait(
    sink: WarehouseSink, database: MemoryDatabase
) -> None:
    committer, _ = await opened(sink)
    database.refused = {*range(REFUSED_MAX)}
    await write(committer, 1, *range(REFUSED_MAX + 100))
    assert (len(database.rows), len(letters_of(sink))) == (100, REFUSED_MAX)
    database.refused = {*range(1_000, 1_001 + REFUSED_MAX)}
    with pytest.raises(SinkAwayError, match=f"more than {REFUSED_MAX} rows of a turn: no such value"):
        await write(committer, 2, *range(1_000, 1_001 + REFUSED_MAX))
    assert (len(database.rows), len(letters_of(sink))) == (100, REFUSED_MAX)


async def test_refused_rows_are_counted_like_all_dead_letters_of_the_worker(
    sink: WarehouseSink, worker: Worker, database: MemoryDatabase
) -> None:
    committer, _ = await opened(sink)
    database.refused = {1}
    await write(committer, 5, 1, 2)
    assert worker.stats.counters["refused"] == 1
    assert worker.stats.refusals.most_common(5)[0]["reason"] == "refused by the warehouse: no such value"


async def test_a_letter_is_kept_once_however_often_the_database_refuses_the_turn(
    sink: WarehouseSink, database: MemoryDatabase
) -> None:
    database.refused = {1}
    for _ in range(3):
        committer, _ = await opened(sink, refuses=False)  # as if a column were missing
        with pytest.raises(SinkAwayError):
            await write(committer, 5, 1, letter=True)
    assert letters_of(sink) == []
    database.refused = set()
    committer, _ = await opened(sink)
    await write(committer, 5, 1, letter=True)
    assert letters_of(sink) == [(FOLDED_LETTER, [])]


async def test_what_must_be_accepted_makes_the_partition_wait(sink: WarehouseSink, database: MemoryDatabase) -> None:
    committer, _ = await opened(sink, refuses=False)
    database.refused = {1}
    with pytest.raises(SinkAwayError, match="no such value"):
        await write(committer, 2, 1)
    assert (database.rows, letters_of(sink)) == ([], [])


async def test_many_rows_are_several_statements_of_one_transaction(
    sink: WarehouseSink, database: MemoryDatabase
) -> None:
    committer, _ = await opened(sink)
    await write(committer, 1, *range(2 * MOST_ROWS + 1))
    assert database.statements == [MOST_ROWS, MOST_ROWS, 1]


async def test_dead_letters_of_folds_come_before_the_offset_moves(
    sink: WarehouseSink, database: MemoryDatabase
) -> None:
    committer, _ = await opened(sink)
    await write(committer, 1, 5, letter=True)
    assert letters_of(sink) == [(FOLDED_LETTER, [])]
    assert database.rows == [5]


async def test_the_topics_id_is_kept_and_the_connections_end_with_the_sink(
    sink: WarehouseSink, database: MemoryDatabase
) -> None:
    committer, _ = await opened(sink)
    assert await committer.source_ids() == {}
    await committer.keep_source_ids({TOPIC: "abc"})
    again, _ = await opened(sink)
    assert await again.source_ids() == {TOPIC: "abc"}
    await again.close()
    await sink.on_shutdown()
    assert database.is_closed
