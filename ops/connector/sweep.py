"""Delete rows from stream and lake that no longer exist in the source database, although no deletion was captured.

A snapshot that was interrupted begins again, and does not report rows that were deleted in between: their records of
the first attempt remain in the change topics. A sweep reads each change topic, then the primary keys of its table, and
appends a deletion, in the connector's format, for each row that exists in the topic but not in the database. The
streams, the look-ups, the archive and the lake process it like a captured deletion.

The deletion's position follows that of the row's newest change in the topic directly. So every other change of the row
that was captured but not published yet, or that is made later, is newer and takes precedence: a sweep may run, or be
repeated, at any time, also while the connector lags behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException
from msgspec import Struct

from config.definition import Definition, LogicalType, Table
from config.engines.base import Connection, SourceSettings
from ops.connector.topic_rows import ChangeRecord, RowKey, TopicRows
from ops.database import connected, fetched
from ops.producer import ANSWER_S, transactional_producer
from stack.errors import StackError
from streams.model.position import SWEPT_ROW, Position
from streams.topics import SWEPT_HEADER, topic_under

MOST_GONE_SHARE: Final = 0.2
"""Largest share of a table's rows that a sweep deletes without `--force`."""

FEW_GONE: Final = 20
"""Number of rows that a sweep deletes without `--force`, whatever their share."""

_COMPARABLE: Final = (LogicalType.UUID, LogicalType.STRING, LogicalType.INTEGER, LogicalType.BIGINT)
_CHUNK_RECORDS: Final = 500


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
    only: str | None = None,
    is_dry: bool = False,
    is_forced: bool = False,
) -> Iterator[SweptTable]:
    """Compare the change topics of a dataset's tables with the database, and append the missing deletions.

    Args:
        only: sweep only this table.
        is_dry: append nothing.
        is_forced: delete rows even if they are a large share of the table.

    Raises:
        StackError: a server cannot be reached, a table's key cannot be compared, or too many rows are gone.
    """
    tables = [table for table in definition.tables if only in (None, table.name)]
    with connected(database, definition.database, definition.schema) as connection:
        for table in tables:
            require_comparable_key(table)
            yield _swept(connection, bootstrap, definition, table, is_dry=is_dry, is_forced=is_forced)


def require_comparable_key(table: Table) -> None:
    """Raise a `StackError` if the values of the table's key can be written in several ways, such as times."""
    types = {column.name: column.type for column in table.columns}
    for name in table.key:
        if types[name] not in _COMPARABLE:
            raise StackError(
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
    gone = _gone(connection, table, rows)
    there = sum(not newest.deleted for newest in rows.newest.values())
    if gone and not is_dry:
        if len(gone) > max(FEW_GONE, there * MOST_GONE_SHARE) and not is_forced:
            raise StackError(
                f"table {table.name}: {len(gone):,} of {there:,} rows in {topic} are not in the source; if they were "
                f"really deleted, run the command with --force"
            )
        at_ms = database_time_ms(connection)
        records = ((topic, deletion(record, at_ms)) for record in rows.records_of(gone).values())
        append(bootstrap, definition, records, header=SWEPT_HEADER)
    return SweptTable(table=table.name, topic_rows=there, gone=len(gone))


def _gone(connection: Connection, table: Table, rows: TopicRows) -> dict[RowKey, Position]:
    """Return the rows that exist in the topic but not in the database, with the positions of their newest changes."""
    known = _keys(connection, table)
    found = {
        key: newest.position for key, newest in rows.newest.items() if not newest.deleted and _texts(key) not in known
    }
    # The database decides in the end: its collation may ignore case, and a commit may not have been visible yet.
    for key in list(existing(connection, table, list(found))):
        del found[key]
    return found


def _texts(key: RowKey) -> tuple[str, ...]:
    return tuple(map(str, key))


def _keys(connection: Connection, table: Table) -> set[tuple[str, ...]]:
    columns = ", ".join(map(connection.quoted, table.key))
    connection.rollback()
    query = f"SELECT {columns} FROM {connection.quoted(table.name)}"  # noqa: S608 - identifiers of a definition
    return {tuple(map(str, row)) for row in fetched(connection, query)}


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


def deletion(record: ChangeRecord, at_ms: int) -> ChangeRecord:
    """Build the deletion of a row that directly follows its newest change, `record`, in the database's log.

    Args:
        record: a record whose envelope contains the row.
        at_ms: time of the deletion by the database's clock, in milliseconds since 1970.
    """
    envelope = envelope_of(record.value)
    source = envelope["source"] | {"row": SWEPT_ROW, "snapshot": "false", "ts_ms": at_ms}
    source |= {name: None for name in ("gtid", "thread", "query", "ts_us", "ts_ns") if name in source}
    value = {"before": envelope["after"], "after": None, "source": source, "op": "d", "ts_ms": at_ms}
    return ChangeRecord(record.key, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def envelope_of(value: bytes) -> dict[str, Any]:
    """Decode a record's envelope, without the converter's wrapper."""
    found: dict[str, Any] = msgspec.json.decode(value)
    payload = found.get("payload")
    return payload if isinstance(payload, dict) else found


def append(bootstrap: str, definition: Definition, records: Iterable[tuple[str, ChangeRecord]], *, header: str) -> None:
    """Append records to their topics, many per transaction; a command that is interrupted may be repeated.

    Args:
        records: pairs of a topic and a record.
        header: name of the header that each record gets.
    """
    left = iter(records)
    producer = transactional_producer(bootstrap, f"millrace-sweep-{definition.name}")
    try:
        producer.init_transactions(ANSWER_S)
        while chunk := list(islice(left, _CHUNK_RECORDS)):
            producer.begin_transaction()
            for topic, (key, value) in chunk:
                producer.produce(topic, key=key, value=value, headers=[(header, b"")])
            producer.commit_transaction(ANSWER_S)
    except KafkaException as error:
        raise StackError(
            f"cannot append changes: {error.args[0].str()}; run the command again to append the rest"
        ) from None
