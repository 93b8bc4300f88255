"""Bring orders that differ from the database right in the stream: read their rows again, and append them.

For each order, the command reads the rows from the database, all of them locked at once, and appends a record for each,
as an incremental snapshot of the connector would; rows that the database lacks get a deletion. The streams, the archive
and the lake process both like captured changes.

A record's position follows that of the row's newest change in the topic, and precedes that of every later event in the
log. So a change that is made later, or that was captured but not published yet, is newer and takes precedence. The
database is read after the topics, with locks: so no change in the topics is too young to be seen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from config.definition import Definition, Table
from config.engines.base import Connection, SourceSettings
from ops.connector.sweep import append, database_time_ms, deletion, envelope_of, existing, require_comparable_key
from ops.connector.topic_rows import ChangeRecord, RowKey, TopicRows
from ops.database import connected, fetched
from stack.errors import StackError
from streams.model.position import Position
from streams.topics import REPAIRED_HEADER, topic_under

_QUERY_KEYS: Final = 500


class Repaired(Struct, frozen=True, kw_only=True):
    """Numbers of records that were appended to a table's topic."""

    table: str
    rows: int
    deletions: int


class _TableRows(Struct):
    """What the topic of a table knows of the orders, keyed by the rows' primary keys."""

    table: Table
    topic: str
    rows: TopicRows


def repair(
    database: SourceSettings, bootstrap: str, definition: Definition, order_ids: Collection[str]
) -> list[Repaired]:
    """Append the rows of these orders as they are in the database, and deletions of rows that it lacks.

    Raises:
        StackError: a server cannot be reached, or a topic has no record from which a position can be taken.
    """
    rule = definition.completeness
    assert rule is not None
    wanted = set(order_ids)
    tables = [_read_topic(bootstrap, definition, definition.table(name)) for name in (rule.children, rule.parent)]
    repaired: list[Repaired] = []
    records: list[tuple[str, ChangeRecord]] = []
    with connected(database, definition.database, definition.schema) as connection:
        with connection.engine.locking_reads(connection):
            sources = [_source_rows(connection, each.table, sorted(wanted)) for each in tables]
            at_ms = database_time_ms(connection)
        for each, source in zip(tables, sources, strict=True):
            gone = _gone(each, source, wanted)
            for key in list(existing(connection, each.table, list(gone))):  # the collation may ignore case
                del gone[key]
            records += [(each.topic, record) for record in _records(each, source, gone, at_ms)]
            repaired.append(Repaired(table=each.table.name, rows=len(source), deletions=len(gone)))
    append(bootstrap, definition, records, header=REPAIRED_HEADER)
    return repaired


def _read_topic(bootstrap: str, definition: Definition, table: Table) -> _TableRows:
    require_comparable_key(table)
    topic = topic_under(definition.topic_prefix, table.name)
    rows = TopicRows(bootstrap, topic, table)
    rows.read()
    return _TableRows(table, topic, rows)


def _source_rows(connection: Connection, table: Table, order_ids: list[str]) -> dict[RowKey, dict[str, Any]]:
    """Read the rows of these orders, keyed by their primary keys."""
    assert table.topic_key is not None
    names = [column.name for column in table.columns]
    columns = ", ".join(map(connection.quoted, names))
    found = {}
    for first in range(0, len(order_ids), _QUERY_KEYS):
        keys = order_ids[first : first + _QUERY_KEYS]
        marks = ", ".join(["%s"] * len(keys))
        condition = f"{connection.quoted(table.topic_key)} IN ({marks})"
        query = f"SELECT {columns} FROM {connection.quoted(table.name)} WHERE {condition}"  # noqa: S608
        for values in fetched(connection, f"{query} {connection.engine.locking}", tuple(keys)):
            row = dict(zip(names, values, strict=True))
            found[tuple(row[name] for name in table.key)] = row
    return found


def _gone(each: _TableRows, source: Collection[RowKey], wanted: Collection[str]) -> dict[RowKey, Position]:
    """Return the rows of these orders that exist in the topic only, with the positions of their newest changes."""
    assert each.table.topic_key is not None
    index = each.table.key.index(each.table.topic_key)
    return {
        key: newest.position
        for key, newest in each.rows.newest.items()
        if str(key[index]) in wanted and not newest.deleted and key not in source
    }


def _records(
    each: _TableRows, source: Mapping[RowKey, dict[str, Any]], gone: Mapping[RowKey, Position], at_ms: int
) -> Iterator[ChangeRecord]:
    newest = each.rows.newest
    if not (source or gone):
        return
    if not newest:
        raise StackError(f"{each.topic} has no records: start the connector with `millrace connector apply`")
    # A row without any record takes its position from the newest record of all: everything up to it is in the row.
    last = max(newest, key=lambda key: newest[key].position)
    positions = {key: newest[key].position for key in (last, *(source.keys() & newest.keys()))} | dict(gone)
    known = each.rows.records_of(positions)
    for key, row in source.items():
        yield reread(known.get(key, known[last]), row, each.table, at_ms)
    for key in gone:
        yield deletion(known[key], at_ms)


def reread(record: ChangeRecord, row: Mapping[str, Any], table: Table, at_ms: int) -> ChangeRecord:
    """Build a snapshot's record of a row, at a position that directly follows that of `record`.

    Args:
        record: the row's newest record in the topic, or the newest record of the topic.
        row: the row's values, as the database returned them.
        at_ms: time of the reading by the database's clock, in milliseconds since 1970.
    """
    assert table.topic_key is not None
    source = envelope_of(record.value)["source"]
    # The next byte of the log: no event begins there, because each is longer, and every later event is newer.
    source |= {"pos": source["pos"] + 1, "row": 0, "snapshot": "incremental", "ts_ms": at_ms}
    source |= {name: None for name in ("gtid", "thread", "query", "ts_us", "ts_ns") if name in source}
    after = {name: _as_captured(value) for name, value in row.items()}
    value = {"before": None, "after": after, "source": source, "op": "r", "ts_ms": at_ms}
    key = str(row[table.topic_key]).encode()
    return ChangeRecord(key, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _as_captured(value: Any) -> Any:
    """Convert a value of the database driver to the form in which the connector writes it."""
    match value:
        case datetime():  # the connection's time zone is UTC
            return f"{value.isoformat(timespec='microseconds')}Z"
        case date():
            return f"{value.isoformat()}Z"
        case Decimal():
            return format(value, "f")
        case bytes() | bytearray():
            return value.hex()
    return value
