"""The first read of the tables that the initial snapshot leaves out: asked for once the connector follows the log.

It is complete when the table's topic has a record of each row that the table had at some time after the connector began
to follow the log: all later changes arrive anyway. If rows are missing although the connector has ended its reads, it
is asked again.

All tables of PostgreSQL are compared in this way when the connector has begun to read the log anew. All rows of a page
that a client's COPY fills have one place in the log, and Debezium 3.7 goes on behind them if it was stopped when it had
published exactly one: only the keys in the topic tell that the others never came.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from contextlib import closing
from typing import Final

from config.definition import Definition, Table
from config.engines import engine_of
from config.engines.base import SourceSettings
from config.settings import KafkaSettings
from ops.connector.apply import wait_snapshot
from ops.connector.doubtful_reads import DoubtfulReads
from ops.connector.pause import Pause
from ops.connector.reads import RIGHTS, Reads
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name
from ops.connector.sweep import has_comparable_key
from ops.connector.topic_rows import SeenRows
from ops.topics import apply_topics
from stack.errors import StackError
from streams.topics import SIGNALS_SPEC, topic_under

SHORT_S: Final = 60.0
"""How long `connector apply` waits for the end of the initial snapshot, unless it is to wait for all rows."""

LONG_S: Final = 600.0

MOST_NAMED: Final = 500
"""Number of missing rows up to which the connector is asked for them alone instead of for the whole table."""

_POLL_S: Final = 0.5
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:@ -]+")
"""Values of keys that every database reads alike between quotes."""

_MARKER_S: Final = 2.0
"""How long the end of a transaction may take to reach all topics after Connect has seen it."""

Say = Callable[[str], None]


class FirstReads:
    """The first reads of a dataset's tables, of which there may be none.

    Attributes:
        compared: tables whose rows are looked for in their topics when there is doubt.
    """

    def __init__(
        self, definition: Definition, database: SourceSettings, kafka: KafkaSettings, connect: ConnectClient
    ) -> None:
        self._definition = definition
        self._tables = [table.name for table in definition.incremental_tables]
        self._unread = set(self._tables)
        of_postgres = definition.tables if definition.engine == "postgres" else ()
        self.compared = {*self._tables, *(table.name for table in of_postgres if has_comparable_key(table))}
        self._kafka = kafka
        self._reads = Reads(definition, database, connect)
        self._pause = Pause(time.monotonic)

    def prepare(self) -> None:
        """Create what the connector needs for them; call it before the connector starts."""
        if self._tables:
            apply_topics(self._kafka, [SIGNALS_SPEC])
            self._reads.prepare()

    def begin(self, say: Say, *, limit_s: float = SHORT_S) -> bool:
        """Wait until the connector follows the log, and ask for the reads, unless that was done.

        Returns:
            Whether they are asked for; False if the snapshot takes longer than the limit.
        """
        if not self._tables:
            return True
        if not self._reads.await_streaming(limit_s):
            say(
                f"the initial snapshot goes on; {', '.join(self._tables)}: read after it, as soon as "
                "`millrace connector watch` is running, or this command is run again"
            )
            return False
        begun = self._reads.begin_first()
        if begun:
            say(f"{', '.join(begun)}: being read incrementally, while changes arrive")
        return True

    def tend(self, say: Say) -> bool:
        """Ask for the reads if that was not done, and again if the connector has lost one; return whether all are done.

        Call it again and again while the connector follows the log, until it returns True.
        """
        if not self._unread or not self._pause.is_over:
            return not self._unread
        begun = self._reads.begin_first()
        if begun:
            say(f"{', '.join(begun)}: being read incrementally")
        pause_s = 0.0
        for name in sorted(self._unread.difference(begun)):
            missing = None if self._reads.is_reading(name) else self._missing(self._definition.table(name))
            if missing is None:
                continue
            if missing:
                pause_s = pause_s or self._pause.begin()
                self._reads.begin(name, condition_of(self._definition, name, missing))
                say(
                    f"{name}: {len(missing):,} rows are not in the topic, or were read while they changed; asked the "
                    f"connector to read them (next time after {pause_s:.0f} s or more); if that does not help: {RIGHTS}"
                )
            else:
                self._unread.discard(name)
                say(f"{name}: all rows are in the topic")
        return not self._unread

    def doubt(self) -> None:
        """Compare all tables with their topics again, as the connector may have lost rows or reads."""
        self._unread = set(self.compared)

    def wait(self, say: Say, *, limit_s: float = LONG_S) -> None:
        """Wait until they are complete.

        Raises:
            StackError: the connector failed, or the time limit was exceeded.
        """
        deadline = time.monotonic() + limit_s
        while not self.tend(say):
            self._reads.require_well()
            if time.monotonic() >= deadline:
                unread = ", ".join(sorted(self._unread))
                raise StackError(f"{unread}: not all rows are read after {limit_s:g} s; if none arrives: {RIGHTS}")
            time.sleep(_POLL_S)

    def _missing(self, table: Table) -> set[tuple[str, ...]] | None:
        """Return the rows of a table that its topic does not have, or that may have been read out of date.

        The result is None if a read of the table has begun meanwhile.
        """
        wanted = self._reads.keys(table.name)
        end = self._reads.log_end()
        topic = topic_under(self._definition.topic_prefix, table.name)
        doubts = DoubtfulReads() if self._definition.engine == "postgres" else None
        with closing(SeenRows(self._kafka.bootstrap, topic, table, is_alive=True, doubts=doubts)) as seen:
            seen.look()
            self._reads.await_place(end)
            seen.look()
            if wanted - seen.keys:
                time.sleep(_MARKER_S)
                seen.look()
            missing = (wanted - seen.keys) | seen.doubtful
            if missing:  # some may have been deleted meanwhile
                missing &= self._reads.keys(table.name)
            return None if self._reads.is_reading(table.name) else missing


def condition_of(definition: Definition, table: str, keys: Collection[tuple[str, ...]]) -> str | None:
    """Return a condition in SQL for the rows with these keys; None if they are too many, or not plain texts."""
    if len(keys) > MOST_NAMED or not all(_PLAIN.fullmatch(value) for key in keys for value in key):
        return None
    columns = ", ".join(map(engine_of(definition).quoted, definition.table(table).key))
    rows = sorted("(" + ", ".join(f"'{value}'" for value in key) + ")" for key in keys)
    return f"({columns}) IN ({', '.join(rows)})"


def read_all(
    definition: Definition,
    database: SourceSettings,
    kafka: KafkaSettings,
    connect: ConnectClient,
    *,
    prefix: str | None = None,
    say: Say = lambda line: None,
    limit_s: float = LONG_S,
) -> None:
    """Wait until a running connector has read all tables, those of the initial snapshot and the others.

    Args:
        prefix: the connector's name in the records; None: any.

    Raises:
        StackError: the connector failed, or a time limit was exceeded.
    """
    reads, name = FirstReads(definition, database, kafka, connect), connector_name(definition.name)
    if not definition.incremental_tables:
        wait_snapshot(connect, name, prefix=prefix, limit_seconds=limit_s)
        return
    reads.prepare()
    if reads.begin(say, limit_s=limit_s):
        reads.wait(say, limit_s=limit_s)
    else:
        raise StackError(f"{name}: the snapshot is not complete after {limit_s:g} s")
