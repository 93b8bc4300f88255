"""How far the connector is with reading tables, be it a snapshot or an incremental read.

The connector tells this only through JMX. But each row that it reads becomes a record of the table's topic, so the
number of records since the read began says how many are done: a question about offsets, whatever the size of the table.
An incremental read begins with the signal that asked for it, whose row is in `source_signals`; a snapshot with the
connector's epoch, and again with each start of its task until it has ended (`task_starts.py`). How many rows there are
to read is what the database estimates from its statistics; a small table is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from config.definition import Definition
from config.engines.base import SourceSettings
from ops.connector.arrival import Arrivals
from ops.connector.epochs import began_ms
from ops.connector.reads import position_of, tables_read
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name
from ops.connector.task_starts import StatusTopic
from ops.database import connected
from ops.topic_reader import TopicReader
from stack.errors import StackError
from streams.adapters.redis import RedisAwayError, Script
from streams.model.position import epoch_of
from streams.model.table_read import READS, ConnectorReads, TableRead, is_initial_snapshot
from streams.topics import SOURCE_SIGNALS, topic_under

LOOK_S: Final = 2.0
"""How often the offsets are asked for while a table is read."""

KEPT_S: Final = 86_400
"""How long Redis keeps what a watch has written last."""

WRITE: Final = Script("""\
-- {key, value, seconds} -> OK
local key, value, seconds = unpack(cmsgpack.unpack(ARGV[1]))
return redis.call('SETEX', key, seconds, value)
""")

_GROUP: Final = "millrace-connector-reads"


class Source(Protocol):
    """What the progress asks of Kafka and the database."""

    def epoch_began_ms(self, prefix: str) -> int:
        """Return when the connector with this name in the records was begun; 0 for the first one."""

    def signalled_ms(self) -> Mapping[str, int]:
        """Return when the connector was asked for a table last, keyed by table."""

    def started_ms(self) -> int:
        """Return when the connector's task was started last; 0 if that is not known."""

    def records_since(self, table: str, since_ms: int) -> int:
        """Return the number of records of a table's topic since a time."""

    def estimated_rows(self, table: str) -> int:
        """Return about how many rows a table has."""


class Recorder(Protocol):
    """Where the reads are written down."""

    def call(self, script: Script, argument: bytes) -> Any: ...


class Servers:
    """Kafka and the database of a dataset.

    Args:
        status_topic: the topic in which Connect keeps the states of its connectors and tasks.
    """

    def __init__(self, definition: Definition, database: SourceSettings, bootstrap: str, *, status_topic: str) -> None:
        self._definition = definition
        self._status = StatusTopic(bootstrap, status_topic, connector_name(definition.name))
        self._database = database
        self._bootstrap = bootstrap
        self._arrivals = Arrivals(bootstrap)

    def epoch_began_ms(self, prefix: str) -> int:
        """Return when the connector with this name in the records was begun; 0 for the first one."""
        return began_ms(self._bootstrap, self._definition.name, epoch_of(prefix))

    def signalled_ms(self) -> Mapping[str, int]:
        """Return when the connector was asked for a table last, keyed by table, by the records of its signals.

        While a table is read, the connector writes to this topic all the time, so its end may never be reached.
        """
        signals = Signals(until_ms=time.time_ns() // 1_000_000)
        with TopicReader(self._bootstrap, SOURCE_SIGNALS, _GROUP) as reader, suppress(EnoughError):
            reader.visit_to_end(signals.take)
        return signals.asked_ms

    def started_ms(self) -> int:
        """Return when the connector's task was started last; 0 if no record says so."""
        return self._status.started_ms()

    def close(self) -> None:
        """Close the reader of Connect's status topic."""
        self._status.close()

    def records_since(self, table: str, since_ms: int) -> int:
        """Return the number of records of a table's topic since a time."""
        return self._arrivals.records_since(topic_under(self._definition.topic_prefix, table), since_ms)

    def estimated_rows(self, table: str) -> int:
        """Return about how many rows a table has."""
        with connected(self._database, self._definition.database, self._definition.schema) as connection:
            return connection.engine.estimated_rows(connection, table)


class _Row(Struct):
    type: str
    data: str | None = None


class _Signal(Struct):
    op: str
    ts_ms: int
    after: _Row | None = None


class _Request(Struct, rename="kebab"):
    data_collections: list[str] = []


class EnoughError(Exception):
    """A record is newer than those that are wanted."""


class Signals:
    """The records of `source_signals` up to a time.

    Attributes:
        asked_ms: when a table was asked for last, in milliseconds since 1970, keyed by table.
    """

    def __init__(self, *, until_ms: int) -> None:
        self.asked_ms: dict[str, int] = {}
        self._until_ms = until_ms

    def take(self, _: bytes | None, value: bytes | None) -> None:
        """Take in a record; what is no signal that asks for a table is left out.

        Raises:
            EnoughError: the record is newer than wanted.
        """
        try:
            signal = msgspec.json.decode(value or b"", type=_Signal)
            if signal.ts_ms > self._until_ms:
                raise EnoughError
            if signal.op != "c" or signal.after is None or signal.after.type != "execute-snapshot":
                return
            request = msgspec.json.decode(signal.after.data or "", type=_Request)
        except msgspec.DecodeError:
            return
        self.asked_ms.update({name.rpartition(".")[2]: signal.ts_ms for name in request.data_collections})


class ReadProgress:
    """The newest read of each table; call `look` again and again.

    Args:
        recorder: Redis, for the page `/`; None: nothing is written down.
        say: receives what is wrong, once.

    Attributes:
        tables: the reads since this object was made, those under way first.
    """

    def __init__(
        self,
        definition: Definition,
        connect: ConnectClient,
        source: Source,
        recorder: Recorder | None,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tables: Sequence[TableRead] = ()
        self._definition = definition
        self._connect = connect
        self._source = source
        self._recorder = recorder
        self._say = say
        self._said: dict[str, str] = {}
        self._clock = clock
        self._look_at = clock()
        self._is_snapshot = False
        self._begun: dict[str, tuple[int, int | None]] = {}

    def look(self) -> None:
        """Count the rows, unless that was done a moment ago; without an answer of a server the former figures stay."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_S
        try:
            self._count(*self._under_way())
            self._said.pop("count", None)
        except StackError as error:
            self._say_once("count", f"the rows of a read cannot be counted: {error}")

    def _under_way(self) -> tuple[str, list[str]]:
        """Return the connector's name in the records, and the tables that it reads."""
        name = connector_name(self._definition.name)
        settings = self._connect.config(name)
        if settings is None:
            return "", []
        prefix = settings.get("topic.prefix", self._definition.name)
        position = position_of(self._connect.offsets(name), prefix)
        self._is_snapshot = is_initial_snapshot(position)
        if self._is_snapshot:
            later = {table.name for table in self._definition.incremental_tables}
            return prefix, [table.name for table in self._definition.tables if table.name not in later]
        return prefix, tables_read(position)

    def _count(self, prefix: str, under_way: Sequence[str]) -> None:
        former = {read.table: read for read in self.tables}
        new = [table for table in under_way if table not in former or not former[table].is_under_way]
        if new:
            self._begin(prefix, new)
        if self._is_snapshot and under_way:
            self._begin_again(self._started_ms())
        changed = {table: self._read(table, table in under_way) for table in self._begun}
        tables = sorted(changed.values(), key=lambda read: not read.is_under_way)
        self._begun = {table: begun for table, begun in self._begun.items() if table in under_way}
        self.tables = [*tables, *(read for name, read in former.items() if name not in changed)]
        if changed:
            self._record()

    def _begin(self, prefix: str, tables: Sequence[str]) -> None:
        epoch_ms, signalled = self._source.epoch_began_ms(prefix), self._source.signalled_ms()
        for table in tables:
            since_ms = max(epoch_ms, signalled.get(table, 0))
            self._begun[table] = since_ms, self._source.estimated_rows(table)

    def _begin_again(self, started_ms: int) -> None:
        """Count from the start of the connector's task: a snapshot that was interrupted reads all rows again."""
        self._begun = {table: (max(since_ms, started_ms), rows) for table, (since_ms, rows) in self._begun.items()}

    def _started_ms(self) -> int:
        try:
            started_ms = self._source.started_ms()
        except StackError as error:
            text = f"rows that a snapshot reads again after an interruption are counted twice: {error}"
            self._say_once("starts", text)
            return 0
        self._said.pop("starts", None)
        return started_ms

    def _read(self, table: str, is_under_way: bool) -> TableRead:
        since_ms, estimated = self._begun[table]
        rows = self._source.records_since(table, since_ms)
        return TableRead(table=table, rows=rows, estimated=estimated, is_under_way=is_under_way)

    def _record(self) -> None:
        """Write the reads down; a Redis that is away costs the page this news, and the watch nothing."""
        if self._recorder is None:
            return
        reads = msgspec.json.encode(ConnectorReads(at=time.time(), tables=[*self.tables])).decode()
        try:
            self._recorder.call(WRITE, msgspec.msgpack.encode((f"{READS}{self._definition.name}", reads, KEPT_S)))
            self._said.pop("redis", None)
        except RedisAwayError as error:
            self._say_once("redis", f"{error}: the page does not show how far reads are")

    def _say_once(self, subject: str, text: str) -> None:
        """Say what is wrong with a subject, unless that was said last of it."""
        if self._said.get(subject) != text:
            self._said[subject] = text
            self._say(text)
