"""The statements of a turn (one micro-batch of a partition) in the warehouse, and the arrays that they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from streams.model.position import WIDTHS, sequence_text
from streams.model.warehouse import Row, WarehouseTable
from tables.warehouse.schema import quoted

_OF_A_READ: Final = f"'{0:0{WIDTHS[3]}d}'"
"""Last part of the position of a row that a snapshot read."""

_IS_CHANGE: Final = f"right(excluded.source_position, {WIDTHS[3]}) <> {_OF_A_READ}"
_TIME: Final = "timestamptz 'epoch' + {0} * interval '1 millisecond'"
_UPSERT: Final = """\
INSERT INTO {table} AS t ({columns})
SELECT {values} FROM unnest({arrays}) AS given({aliases}){unless_erased}
ON CONFLICT ({key}) DO UPDATE SET {assignments}
WHERE {condition}
"""
_UNLESS_ERASED: Final = """
LEFT JOIN {schema}.erased_rows AS erased ON erased.name = '{name}' AND erased.key = c{key}::text"""
_OWN_ARRAYS: Final = {
    "first_seen_at": "bigint",
    "last_seen_at": "bigint",
    "event_time": "bigint",
    "is_deleted": "boolean",
    "source_lsn": "bigint",
    "source_position": "text",
}


def upsert(schema: str, table: WarehouseTable) -> str:
    """Return the statement that inserts rows, and updates those that are older.

    A row changes only if the new version has a later position. A version that a snapshot read, as a backfill does, must
    also differ: otherwise it says nothing new, and the row stays as it is. In dimensions, an older version can still
    bring an earlier first time or a later last one, as when the changes of a row arrive in the wrong order.

    Of a person who was erased, only the key is written, whichever change comes again.
    """
    names = [quoted(column.name) for column in table.columns]
    own = [quoted(name) for name in table.own_columns]
    arrays = [f"%b::{column.sent}[]" for column in table.columns]
    arrays += [f"%b::{_OWN_ARRAYS[name]}[]" for name in table.own_columns]
    values = [_value(table, index) for index in range(len(table.columns))]
    for index, type_ in enumerate(table.own_columns.values(), len(values)):
        values.append(_TIME.format(f"c{index}") if type_ == "timestamptz" else f"c{index}")
    aliases = ", ".join(f"c{index}" for index in range(len(arrays)))
    return _UPSERT.format(
        table=f"{quoted(schema)}.{quoted(table.name)}",
        columns=", ".join(names + own),
        values=", ".join(values),
        arrays=", ".join(arrays),
        aliases=aliases,
        unless_erased=_unless_erased(schema, table),
        key=", ".join(map(quoted, table.key)),
        assignments=_assignments(table),
        condition=_is_newer(table) + _or_widens(table),
    )


def _value(table: WarehouseTable, index: int) -> str:
    value = f"c{index}::{table.columns[index].stored}"
    if table.has_persons and index not in table.key_indexes:
        return f"CASE WHEN erased.key IS NULL THEN {value} END"
    return value


def _unless_erased(schema: str, table: WarehouseTable) -> str:
    if not table.has_persons:
        return ""
    return _UNLESS_ERASED.format(schema=quoted(schema), name=table.name, key=table.key_indexes[0])


def _is_newer(table: WarehouseTable) -> str:
    names = [quoted(column.name) for column in table.columns if column.name not in table.key] + ['"is_deleted"']
    stored, given = (", ".join(f"{side}.{name}" for name in names) for side in ("t", "excluded"))
    differs = f"ROW({stored}) IS DISTINCT FROM ROW({given})"
    return f"(excluded.source_position > t.source_position AND ({_IS_CHANGE} OR {differs}))"


def _or_widens(table: WarehouseTable) -> str:
    if not table.is_dimension:
        return ""
    later = f"excluded.last_seen_at > t.last_seen_at AND {_IS_CHANGE}"
    return f" OR excluded.first_seen_at < t.first_seen_at OR ({later})"


def _assignments(table: WarehouseTable) -> str:
    names = [column.name for column in table.columns if column.name not in table.key]
    own = [name for name in table.own_columns if name not in ("first_seen_at", "last_seen_at")]
    changed = [quoted(name) for name in [*names, *own]]
    if not table.is_dimension:
        return ", ".join(f"{name} = excluded.{name}" for name in changed)
    newer = _is_newer(table)
    found = [f"{name} = CASE WHEN {newer} THEN excluded.{name} ELSE t.{name} END" for name in changed]
    found.append("first_seen_at = least(t.first_seen_at, excluded.first_seen_at)")
    counts = f"{_IS_CHANGE} OR {newer}"
    latest = "greatest(t.last_seen_at, excluded.last_seen_at)"
    found.append(f"last_seen_at = CASE WHEN {counts} THEN {latest} ELSE t.last_seen_at END")
    return ", ".join(found)


def arrays(table: WarehouseTable, rows: Sequence[Row]) -> list[list[Any]]:
    """Return the values of rows by column, as `upsert` takes them."""
    by_column = [list(column) for column in zip(*(row.values for row in rows), strict=True)]
    if table.is_dimension:
        times = [[row.first_ms for row in rows], [row.last_ms for row in rows]]
    else:
        times = [[row.at_ms for row in rows]]
    return [
        *by_column,
        *times,
        [row.is_deleted for row in rows],
        [row.log_place for row in rows],
        [sequence_text(row.position) for row in rows],
    ]


_PLACE: Final = "app = %s AND topic = %s AND partition = %s"
_TAKE: Final = """\
INSERT INTO {schema}.stream_offsets (app, topic, partition, owner) VALUES (%s, %s, %s, %s)
ON CONFLICT (app, topic, partition) DO UPDATE SET owner = excluded.owner RETURNING next, topic_id
"""
_MOVE: Final = """\
UPDATE {schema}.stream_offsets SET next = %s
WHERE {place} AND owner = %s AND next IS NOT DISTINCT FROM %s
"""
_READ: Final = "SELECT owner, next FROM {schema}.stream_offsets WHERE {place}"
_KEEP_ID: Final = "UPDATE {schema}.stream_offsets SET topic_id = %s WHERE {place} AND owner = %s"
_INSERT_LETTERS: Final = """\
INSERT INTO {schema}.dlq_events
    (app, topic, partition, "offset", recorded_at, written_at, reason, key, value, headers)
SELECT app, topic, number, place, {recorded}, {written},
    CASE WHEN is_erased THEN 'erased' ELSE reason END, CASE WHEN is_erased THEN NULL ELSE key END,
    CASE WHEN is_erased THEN NULL ELSE value END, CASE WHEN is_erased THEN '{{}}' ELSE headers END::jsonb
FROM unnest({arrays}) AS given(app, topic, number, place, recorded, written, reason, key, value, headers),
    LATERAL (SELECT EXISTS (
        SELECT FROM {schema}.erased_rows AS erased WHERE {is_persons}
        AND given.key IN (convert_to(erased.key, 'UTF8'), convert_to('"' || erased.key || '"', 'UTF8'))
    )) AS found(is_erased)
ON CONFLICT DO NOTHING
"""
_LETTER_ARRAYS: Final = ("text", "text", "integer", "bigint", "bigint", "bigint", "text", "bytea", "bytea", "text")


def take_offset(schema: str) -> str:
    """Return the statement that takes a partition over: it waits for, and shuts out, a former owner's transaction."""
    return _TAKE.format(schema=quoted(schema))


def move_offset(schema: str) -> str:
    """Return the statement that moves a partition's offset, if it is the expected one and the owner is the same."""
    return _MOVE.format(schema=quoted(schema), place=_PLACE)


def read_offset(schema: str) -> str:
    """Return the query for a partition's owner and offset."""
    return _READ.format(schema=quoted(schema), place=_PLACE)


def keep_topic_id(schema: str) -> str:
    """Return the statement that stores the id of the topic that a partition's offset belongs to."""
    return _KEEP_ID.format(schema=quoted(schema), place=_PLACE)


def insert_letters(schema: str, persons: Mapping[str, str]) -> str:
    """Return the statement that inserts dead letters that are not there yet, by the origin of their records.

    Of the records of a person who was erased, the content is left out.

    Args:
        persons: names of the warehouse's tables with persons, keyed by the topic of their changes.
    """
    which = [f"(given.topic = '{topic}' AND erased.name = '{name}')" for topic, name in persons.items()]
    given = ", ".join(f"%b::{kind}[]" for kind in _LETTER_ARRAYS)
    times = {"recorded": _TIME.format("recorded"), "written": _TIME.format("written")}
    is_persons = f"({' OR '.join(which)})" if which else "FALSE"
    return _INSERT_LETTERS.format(schema=quoted(schema), arrays=given, is_persons=is_persons, **times)
