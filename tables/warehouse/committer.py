"""The warehouse's sink: writes the rows of a turn (one micro-batch of a partition) to PostgreSQL, each change once.

A turn is one database transaction:

    1. move the partition's offset in `stream_offsets`, if it is the expected one and this worker still owns it;
    2. insert or update the rows;
    3. commit.

So rows and offset are stored together or not at all, and the offset alone says where to continue. Opening a partition
writes a new owner beside the offset. This waits for an open transaction of a former owner, which has locked the offset
in step 1, and shuts later ones out. A commit without an answer has an unknown outcome: the partition is opened again,
and reads the offset. A warehouse that was restored from a dump, or emptied, has older offsets or none, and catches up.

If the database refuses a value, the rows are halved inside savepoints until the row stands alone. It becomes a dead
letter; its neighbours are written. If it refuses too many rows of a turn, its columns probably do not fit the source's,
and the partition waits for them to be changed.

Dead letters are written to Kafka right before the commit, when the database has accepted all the rest: a database that
refuses a statement for hours gets no letter twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from faust.types import TP
from mode import Service

from streams.adapters.postgres import DatabaseAwayError, DatabaseClient, Transaction, ValueRefusedError
from streams.model.errors import SinkAwayError
from streams.model.warehouse import Row
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord, SourceRecord
from streams.topics import DEAD_LETTERS
from tables.dead_letters import DeadLetterProducer
from tables.newest import NewestChange
from tables.warehouse import statements

log = logging.getLogger(__name__)

MOST_ROWS: Final = 5_000
"""Maximum number of rows of one statement; more make it no faster, and 500 hardly slower."""

REFUSED_MAX: Final = 500
"""Maximum number of rows of a turn that become dead letters because the database refuses them. Each of them takes
several statements, which must all be done within the time limit of a commit."""

LETTERS_LIMIT_S: Final = 5.0
"""Time limit for writing dead letters to Kafka; less than the database lets a transaction wait."""


Refuse = Callable[[SourceRecord, str], OutputRecord]


@dataclass(frozen=True)
class Load:
    """What one topic brings into the warehouse.

    Attributes:
        statement: inserts or updates rows; it takes arrays.
        arrays: turns the contents of output records into these arrays.
    """

    statement: str
    arrays: Callable[[Sequence[Any]], Sequence[Any]]


class _Refused(NamedTuple):
    """The dead letter of a row that the database refused, and the reason in it."""

    letter: OutputRecord
    reason: str


class WarehouseSink(Service):
    """A sink that writes rows to the warehouse; creates a committer for each partition task.

    Args:
        client: the warehouse's database; the sink closes it.
        app: the application, whose consumer group's offsets are committed so that its lag can be monitored.
        schema: schema of the dataset.

    Attributes:
        counts: rows `written`, rows `passed_over` because the warehouse has them or newer ones, and rows `refused`.
        newest: the newest change of which this worker has stored a row.
    """

    def __init__(
        self,
        client: DatabaseClient,
        app: TransactionalApp,
        *,
        schema: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.client = client
        self.app = app
        self.schema = schema
        self.dead_letters = DeadLetterProducer(app)
        self.counts: Counter[str] = Counter(written=0, passed_over=0, refused=0)
        self.newest = NewestChange()

    @property
    def away_since(self) -> float | None:
        """Start of the current outage of the warehouse, as Unix time in seconds; None if there is no outage."""
        return self.client.away_since

    def committers(self, topic: str, load: Load, refuse: Refuse | None = None) -> Callable[[int], WarehouseCommitter]:
        """Return a function that creates the committer of a partition of this topic, given the partition number.

        `refuse` builds the dead letter of a record, given the reason; without it, every row must be accepted.
        """
        return lambda partition: WarehouseCommitter(self, load, refuse, topic, partition)

    async def on_shutdown(self) -> None:
        """Close the connections to Kafka and the warehouse."""
        await self.dead_letters.close()
        await self.client.close()


class WarehouseCommitter:
    """A committer that writes one partition's rows, together with the partition's offset."""

    must_reopen = False

    def __init__(self, sink: WarehouseSink, load: Load, refuse: Refuse | None, topic: str, partition: int) -> None:
        self.notes: dict[str, str] = {}
        self._sink = sink
        self._load = load
        self._refuse = refuse
        self._tp = TP(topic, partition)
        self._place = (sink.app.conf.id, topic, partition)
        self._owner = uuid.uuid4()
        self._expected: int | None = None
        self._topic_id: str | None = None

    async def open(self) -> None:
        """Take the partition over from a former owner, whose transactions then fail.

        Raises:
            SinkAwayError: the warehouse does not answer, or a former owner's transaction is still open.
        """
        with self._named():
            async with self._sink.client.transaction() as transaction:
                statement = statements.take_offset(self._sink.schema)
                [(self._expected, self._topic_id)] = await transaction.rows(statement, (*self._place, self._owner))

    async def committed(self) -> Mapping[str, int | None]:
        """Return the next offset to read, as stored with the rows when the partition was opened."""
        return {self._tp.topic: self._expected}

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Write rows and next offset in one transaction of the warehouse, and dead letters to Kafka before its commit.

        Raises:
            SinkAwayError: the warehouse does not answer, or another worker has taken the partition over.
        """
        dead = [record for record in outputs if record.topic == DEAD_LETTERS and record.content is None]
        rows = [record for record in outputs if record.content is not None]
        next_offset = offsets[self._tp.topic]
        with self._named():
            refused: list[_Refused] = []
            try:
                written = await self._write(rows, next_offset, dead)
            except ValueRefusedError:
                if self._refuse is None:
                    raise
                written = await self._write_apart(rows, next_offset, dead, refused)
        self._expected = next_offset
        passed_over = len(rows) - written - len(refused)
        self._sink.counts.update(written=written, passed_over=passed_over, refused=len(refused))
        self._sink.app.stats.refused([each.reason for each in refused])
        self._sink.newest.note(record.content.at_ms for record in rows if isinstance(record.content, Row))
        await self._tell_group(next_offset)
        return {}

    async def source_ids(self) -> Mapping[str, str]:
        """Return the id of the topic that the stored offset belongs to, if it is stored."""
        return {} if self._topic_id is None else {self._tp.topic: self._topic_id}

    async def keep_source_ids(self, ids: Mapping[str, str]) -> None:
        """Store the topic's id beside the offset."""
        with self._named():
            async with self._sink.client.transaction() as transaction:
                statement, values = statements.keep_topic_id(self._sink.schema), (ids[self._tp.topic], *self._place)
                self._stand(await transaction.run(statement, (*values, self._owner)) == 1)

    async def check(self) -> None:
        """Compare owner and offset, to notice another worker or a restored warehouse even if no changes arrive.

        Raises:
            SinkAwayError: the warehouse does not answer, or owner or offset are not the expected ones.
        """
        with self._named():
            async with self._sink.client.transaction() as transaction:
                found = await transaction.rows(statements.read_offset(self._sink.schema), self._place)
        self._stand(found == [(self._owner, self._expected)])

    async def close(self) -> None:
        """Do nothing: the connections belong to the sink."""

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write(self, rows: Sequence[OutputRecord], next_offset: int, dead: Sequence[OutputRecord]) -> int:
        """Write all rows; return how many of them the warehouse did not have yet."""
        async with self._sink.client.transaction() as transaction:
            await self._move_offset(transaction, next_offset)
            statement = self._load.statement
            written = sum([await transaction.run(statement, self._arrays(part)) for part in _parts(rows)])
            await self._keep(dead)
        return written

    async def _write_apart(
        self, rows: Sequence[OutputRecord], next_offset: int, dead: Sequence[OutputRecord], refused: list[_Refused]
    ) -> int:
        """Write all rows but those with refused values; add these to `refused`, and return the number of the others."""
        async with self._sink.client.transaction() as transaction:
            await self._move_offset(transaction, next_offset)
            written = sum([await self._halve(transaction, part, refused) for part in _parts(rows)])
            await self._keep([*dead, *(each.letter for each in refused)])
        return written

    async def _keep(self, letters: Sequence[OutputRecord]) -> None:
        if letters:
            async with asyncio.timeout(LETTERS_LIMIT_S):
                await self._sink.dead_letters.keep(letters)

    async def _halve(self, transaction: Transaction, rows: Sequence[OutputRecord], refused: list[_Refused]) -> int:
        try:
            return await transaction.run_apart(self._load.statement, self._arrays(rows))
        except ValueRefusedError as error:
            if len(refused) >= REFUSED_MAX:
                raise ValueRefusedError(f"more than {REFUSED_MAX} rows of a turn: {error}") from error
            if len(rows) == 1:
                refused.append(self._refused(rows[0], error))
                return 0
        middle = len(rows) // 2
        first = await self._halve(transaction, rows[:middle], refused)
        return first + await self._halve(transaction, rows[middle:], refused)

    def _refused(self, row: OutputRecord, error: ValueRefusedError) -> _Refused:
        assert row.source is not None
        assert self._refuse is not None
        reason = f"refused by the warehouse: {error}"
        return _Refused(self._refuse(row.source, reason), reason)

    async def _move_offset(self, transaction: Transaction, next_offset: int) -> None:
        statement = statements.move_offset(self._sink.schema)
        values = (next_offset, *self._place, self._owner, self._expected)
        self._stand(await transaction.run(statement, values) == 1)

    def _arrays(self, rows: Sequence[OutputRecord]) -> Sequence[Any]:
        return self._load.arrays([record.content for record in rows])

    def _stand(self, is_owner: bool) -> None:
        if not is_owner:
            raise SinkAwayError(
                f"unexpected owner or offset of {self._tp.topic}/{self._tp.partition} in the warehouse (expected "
                f"offset {self._expected}): another worker has the partition, or the warehouse has lost its data"
            )

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (DatabaseAwayError, ValueRefusedError) as error:
            raise SinkAwayError(
                f"the warehouse {self._sink.client!r} failed: {error}; if tables or columns are missing, run "
                "`millrace warehouse apply`"
            ) from error

    async def _tell_group(self, offset: int) -> None:
        """Commit the consumer group's offset, so that its lag can be monitored; Kafka errors are ignored."""
        with contextlib.suppress(KafkaError):
            await self._sink.app.partition_supervisor.commit_group_offsets({self._tp: offset})


def _parts(rows: Sequence[OutputRecord]) -> list[Sequence[OutputRecord]]:
    return [rows[index : index + MOST_ROWS] for index in range(0, len(rows), MOST_ROWS)]
