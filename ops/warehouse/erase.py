"""Erase a person in the warehouse: `millrace warehouse erase --customer ID`.

Of the person's row only the key is left, and `erased_rows` keeps the key, so that no change that is read again brings
the other columns back. Facts have nothing but the key. Dead letters of the person's records lose their content.
"""

from __future__ import annotations

import argparse
import uuid
from typing import Final

from config.definition import Column, Definition, LogicalType
from config.engines import engine_of
from config.engines.base import Connection
from ops.context import settings_environment
from ops.database import connected
from ops.warehouse.place import subject_of, tables_of, warehouse_connection
from stack.errors import StackError
from streams.model.warehouse import WarehouseTable
from streams.topics import topic_under
from tables.warehouse.schema import LETTERS, quoted

# Waits for turns that are being written, and holds new ones up: a turn that does not see the mark yet would write.
_LOCK: Final = "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"
_MARK: Final = "INSERT INTO erased_rows (name, key) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_ERASE: Final = "UPDATE {table} SET {nothing} WHERE {key}::text = %s AND ({something})"
_ERASE_LETTERS: Final = """
    UPDATE dlq_events SET key = NULL, value = NULL, headers = '{}', reason = 'erased'
    WHERE topic = %s AND key IN (convert_to(%s, 'UTF8'), convert_to(%s, 'UTF8'))
"""


def run_erase(arguments: argparse.Namespace) -> int:
    """Erase the row of a person whom the source has deleted."""
    definition, settings = subject_of(arguments)
    table = _table_of_persons(definition)
    person = canonical_key(definition, table, str(arguments.customer))
    _require_deleted(definition, table, person, arguments)
    with warehouse_connection(settings, definition.name) as connection:
        rows, letters = erase(connection, table, person, topic_under(definition.topic_prefix, table.source.name))
    print(f"{table.name}: erased {rows} rows of {person}; {LETTERS}: erased the content of {letters} dead letters")
    if not rows:
        print(f"{table.name} has nothing of {person} but the key, or no such row")
    print("changes that are read again do not bring the row back; backups of the warehouse still have it")
    return 0


def erase(connection: Connection, table: WarehouseTable, person: str, topic: str) -> tuple[int, int]:
    """Erase a person's row and dead letters in one transaction; return the numbers of both."""
    names = [quoted(column.name) for column in table.columns if column.name not in table.key]
    place = quoted(table.name)
    erasing = _ERASE.format(
        table=place,
        nothing=", ".join(f"{name} = NULL" for name in names),
        key=quoted(table.key[0]),
        something=" OR ".join(f"{name} IS NOT NULL" for name in names),
    )
    with connection.cursor() as cursor:
        cursor.execute(_LOCK.format(table=place))
        cursor.execute(_LOCK.format(table=LETTERS))
        cursor.execute(_MARK, (table.name, person))
        cursor.execute(erasing, (person,))
        rows = cursor.rowcount
        cursor.execute(_ERASE_LETTERS, (topic, person, f'"{person}"'))
        letters = cursor.rowcount
    connection.commit()
    return rows, letters


def canonical_key(definition: Definition, table: WarehouseTable, text: str) -> str:
    """Return a person's key as the warehouse writes it: a number without leading zeros, a UUID in lower case.

    Raises:
        StackError: the key's column cannot have this value.
    """
    kind = _key_column(definition, table).type
    try:
        if kind in {LogicalType.INTEGER, LogicalType.BIGINT}:
            return str(int(text))
        return str(uuid.UUID(text)) if kind is LogicalType.UUID else text
    except ValueError:
        raise StackError(f"{text!r} is no key of {table.source.name}, whose type is {kind}") from None


def _key_column(definition: Definition, table: WarehouseTable) -> Column:
    return definition.table(table.source.name).columns[table.key_indexes[0]]


def _table_of_persons(definition: Definition) -> WarehouseTable:
    found = next((table for table in tables_of(definition) if table.has_persons), None)
    if found is None:
        raise StackError(f"no table of dataset {definition.name} with `subject: customer` is in the warehouse")
    return found


def _require_deleted(definition: Definition, table: WarehouseTable, person: str, arguments: argparse.Namespace) -> None:
    engine = engine_of(definition)
    column = _key_column(definition, table)
    login = engine.login(settings_environment(arguments))
    with connected(login, definition.database, definition.schema) as source:
        name = source.quoted(table.source.name)
        query = f"SELECT COUNT(*) FROM {name} WHERE {engine.value(column)} = %s"  # noqa: S608
        found = int(source.value(query, (person,)))
    if found:
        raise StackError(f"the source still has the row of {person} in {table.source.name}: delete it there first")
