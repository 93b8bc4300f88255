"""Delete rows from stream and lake that no longer exist in the source database, although no deletion was captured.

A snapshot that was interrupted begins again, and does not report rows that were deleted in between: their records of
the first attempt remain in the change topics. A sweep reads each change topic, then the primary keys of its table, and
appends a deletion, in the connector's format, for each row that exists in the topic but not in the database. The
streams, the look-ups, the archive and the lake process it like a captured deletion.

The deletion's position follows that of the row's newest change in the topic directly. So every other change of the row
that was captured but not published yet, or that is made later, is newer and takes precedence: a sweep may run, or be
repeated, at any time, also while the connector lags behind. In PostgreSQL, whose changes are ordered by the commit that
precedes them, the deletion follows a commit that the sweep itself makes between reading the topic and the table: every
change that the table did not show yet is committed later, also that of a transaction that is open now. The look-ups do
not compare positions: in them, the later record takes precedence. So the database is asked once more when the deletions
have their offsets, and before they become visible: a row that is inserted later also gets a later offset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException, Producer
from msgspec import Struct

from config.contradictions import COMPARABLE_KEYS
from config.definition import Definition, Table
from config.engines.base import Connection, SourceSettings
from config.engines.faults import EngineError
from ops.connector.epochs import begun_epoch
from ops.connector.topic_rows import ChangeRecord, RowKey, TopicRows, key_texts
from ops.database import connected, fetched
from ops.producer import ANSWER_S, transactional_producer
from stack.errors import StackError
from streams.model.position import SWEPT_ROW, Position, with_epoch
from streams.topics import SWEPT_HEADER, topic_under

MOST_GONE_SHARE: Final = 0.2
"""Largest share of a table's rows that a sweep deletes without `--force`."""

FEW_GONE: Final = 20
"""Number of rows that a sweep deletes without `--force`, whatever their share."""

_CHUNK_RECORDS: Final = 500

TopicRecord = tuple[str, ChangeRecord]
"""A topic, and a record for it."""


class SweepRefusedError(StackError):
    """A table cannot be swept, or is not without `--force`; the other tables are swept all the same."""


class SweptTable(Struct, kw_only=True):
    """Result for one table: rows that exist according to the topic, and those of them that the source lacks."""

    table: str
    topic_rows: int
    gone: int


def sweep(
    database: SourceSettings,
    bootstrap: str,
    definition: Definition,
    *,
    only: Collection[str] | None = None,
    is_dry: bool = False,
    is_forced: bool = False,
) -> Iterator[SweptTable]:
    """Compare the change topics of a dataset's tables with the database, and append the missing deletions.

    Args:
        only: sweep only these tables; None: all.
        is_dry: append nothing.
        is_forced: delete rows even if they are a large share of the table.

    Raises:
        SweepRefusedError: after the last table, if a table's key cannot be compared, or too many rows are gone.
        StackError: a server cannot be reached.
    """
    tables = [table for table in definition.tables if only is None or table.name in only]
    if not tables:
        return
    refusals: list[str] = []
    with connected(database, definition.database, definition.schema) as connection:
        for table in tables:
            try:
                require_comparable_key(table)
                yield _swept(connection, bootstrap, definition, table, is_dry=is_dry, is_forced=is_forced)
            except SweepRefusedError as refusal:
                refusals.append(str(refusal))
    if refusals:
        raise SweepRefusedError("\n".join(refusals))


def has_comparable_key(table: Table) -> bool:
    """Whether each value of the table's key can be written in one way only."""
    return all(column.type in COMPARABLE_KEYS for column in table.columns if column.name in table.key)


def require_comparable_key(table: Table) -> None:
    """Raise a `SweepRefusedError` if the values of the table's key can be written in several ways, such as times."""
    types = {column.name: column.type for column in table.columns}
    for name in table.key:
        if types[name] not in COMPARABLE_KEYS:
            raise SweepRefusedError(
                f"table {table.name}: key column {name} has type {types[name].value}, so its rows cannot be compared "
                f"with the topic; leave the table out with --table"
            )


def _swept(
    connection: Connection,
    bootstrap: str,
    definition: Definition,
    table: Table,
    *,
    is_dry: bool,
    is_forced: bool,
) -> SweptTable:
    topic = topic_under(definition.topic_prefix, table.name)
    rows = TopicRows(bootstrap, topic, table)
    rows.read()
    after = commit_place(connection, bootstrap, definition)
    gone = _gone(connection, table, rows)
    there = sum(not newest.deleted for newest in rows.newest.values())
    if gone and not is_dry:
        if len(gone) > max(FEW_GONE, there * MOST_GONE_SHARE) and not is_forced:
            raise SweepRefusedError(
                f"table {table.name}: {len(gone):,} of {there:,} rows in {topic} are not in the source; if they were "
                f"really deleted, run the command with --force"
            )
        at_ms = database_time_ms(connection)
        deletions = {(topic, deletion(record, at_ms, after)): key for key, record in rows.records_of(gone).items()}

        def returned(records: Sequence[TopicRecord]) -> list[TopicRecord]:
            keys = set(existing(connection, table, [deletions[record] for record in records]))
            found = [record for record in records if deletions[record] in keys]
            for record in found:
                gone.pop(deletions[record], None)
            return found

        with connection.engine.short_lock_waits(connection):  # the readers of the topic wait too
            append(bootstrap, definition, deletions, header=SWEPT_HEADER, outdated=returned)
    return SweptTable(table=table.name, topic_rows=there, gone=len(gone))


def _gone(connection: Connection, table: Table, rows: TopicRows) -> dict[RowKey, Position]:
    """Return the rows that exist in the topic but not in the database, with the positions of their newest changes."""
    known = source_keys(connection, table)
    found = {
        key: newest.position
        for key, newest in rows.newest.items()
        if not newest.deleted and key_texts(key) not in known
    }
    # The database decides in the end: its collation may ignore case, and a commit may not have been visible yet.
    for key in list(existing(connection, table, list(found))):
        del found[key]
    return found


def source_keys(connection: Connection, table: Table, where: str | None = None) -> set[tuple[str, ...]]:
    """Return the keys of the rows that a table has now, as texts.

    Args:
        where: SQL condition for the rows; None: all.
    """
    columns = ", ".join(map(connection.quoted, table.key))
    connection.rollback()
    condition = f" WHERE {where}" if where else ""
    query = f"SELECT {columns} FROM {connection.quoted(table.name)}{condition}"  # noqa: S608 - of a definition, or typed
    return {key_texts(row) for row in fetched(connection, query)}


def existing(connection: Connection, table: Table, keys: Iterable[RowKey]) -> Iterator[RowKey]:
    """Yield those of the keys that the database finds now, or that are being committed."""
    condition = " AND ".join(f"{connection.quoted(name)} = %s" for name in table.key)
    query = f"SELECT 1 FROM {connection.quoted(table.name)} WHERE {condition} LIMIT 1"  # noqa: S608
    with connection.engine.locking_reads(connection):
        for key in keys:
            if list(fetched(connection, f"{query} {connection.engine.locking}", key)):
                yield key


def database_time_ms(connection: Connection) -> int:
    """Return the database's time, in milliseconds since 1970."""
    return connection.engine.time_ms(connection)


def commit_place(connection: Connection, bootstrap: str, definition: Definition) -> dict[str, Any] | None:
    """Return what places a deletion after all commits so far in PostgreSQL's log; None for other databases."""
    if definition.engine != "postgres":
        return None
    try:
        commit, _ = connection.engine.log_place(connection)
    except EngineError as error:
        raise StackError(str(error)) from None
    name = with_epoch(definition.name, begun_epoch(bootstrap, definition.name))
    return {"name": name, "sequence": f'["{commit}","1"]', "lsn": None}


def deletion(record: ChangeRecord, at_ms: int, after: Mapping[str, Any] | None = None) -> ChangeRecord:
    """Build the deletion of a row that directly follows its newest change, `record`, or the place `after` in the log.

    Args:
        record: a record whose envelope contains the row.
        at_ms: time of the deletion by the database's clock, in milliseconds since 1970.
    """
    envelope = envelope_of(record.value)
    source = envelope["source"] | {"row": SWEPT_ROW, "snapshot": "false", "ts_ms": at_ms}
    source |= after or {}
    source |= {name: None for name in ("gtid", "thread", "query", "ts_us", "ts_ns") if name in source}
    value = {"before": envelope["after"], "after": None, "source": source, "op": "d", "ts_ms": at_ms}
    return ChangeRecord(record.key, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def envelope_of(value: bytes) -> dict[str, Any]:
    """Decode a record's envelope, without the converter's wrapper."""
    found: dict[str, Any] = msgspec.json.decode(value)
    payload = found.get("payload")
    return payload if isinstance(payload, dict) else found


def append(
    bootstrap: str,
    definition: Definition,
    records: Iterable[TopicRecord],
    *,
    header: str,
    outdated: Callable[[Sequence[TopicRecord]], Collection[TopicRecord]] = lambda records: (),
) -> None:
    """Append records to their topics, many per transaction; a command that is interrupted may be repeated.

    Args:
        records: pairs of a topic and a record.
        header: name of the header that each record gets.
        outdated: returns those of the records that must not become visible; called when they have their offsets, so
            that every change that it has not seen yet gets a later one.
    """
    left = iter(records)
    producer = transactional_producer(bootstrap, f"millrace-sweep-{definition.name}")
    try:
        producer.init_transactions(ANSWER_S)
        while chunk := list(islice(left, _CHUNK_RECORDS)):
            while chunk and (wrong := _try_chunk(producer, chunk, header, outdated)):
                chunk = [record for record in chunk if record not in wrong]
    except KafkaException as error:
        raise StackError(
            f"cannot append changes: {error.args[0].str()}; run the command again to append the rest"
        ) from None


def _try_chunk(
    producer: Producer,
    chunk: Sequence[TopicRecord],
    header: str,
    outdated: Callable[[Sequence[TopicRecord]], Collection[TopicRecord]],
) -> Collection[TopicRecord]:
    """Append the records in a transaction, and abort it if some of them are outdated; return these."""
    producer.begin_transaction()
    try:
        for topic, (key, value) in chunk:
            producer.produce(topic, key=key, value=value, headers=[(header, b"")])
        if producer.flush(ANSWER_S):
            raise StackError("cannot append changes: Kafka does not answer; run the command again to append the rest")
        wrong = outdated(chunk)
    except BaseException:
        with suppress(KafkaException):  # consumers of the topic would wait for the end of the transaction
            producer.abort_transaction(ANSWER_S)
        raise
    if wrong:
        producer.abort_transaction(ANSWER_S)
    else:
        producer.commit_transaction(ANSWER_S)
    return wrong
