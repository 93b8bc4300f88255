"""The person to erase: the table of persons, the person's key, and whether the source still has the row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from batch.bronze.jdbc_rows import check_columns
from batch.console.keys import parsed_key
from batch.errors import BatchError
from batch.storage.canonical import mysql_value
from batch.storage.database import connected
from config.definition import Column, Definition, Table
from config.settings import DatabaseSettings

SUBJECT: Final = "customer"


@dataclass(frozen=True, kw_only=True)
class Person:
    """A row of the table of persons; `id` is the canonical text of its key."""

    dataset: str
    table: Table
    id: str

    @property
    def column(self) -> Column:
        """The key's column."""
        return next(column for column in self.table.columns if column.name == self.table.key[0])

    @property
    def key(self) -> str:
        """The name of the key's column."""
        return self.column.name

    @property
    def personal(self) -> tuple[str, ...]:
        """The columns with personal data."""
        return tuple(column.name for column in self.table.columns if column.personal)

    @property
    def mark(self) -> str:
        """A hash that replaces the id in the report; a reader who knows the id can find the report by this hash."""
        return hashlib.sha256(f"{self.dataset}/{self.table.name}/{self.id}".encode()).hexdigest()

    def condition(self, type_: str, column: str | None = None) -> str:
        """Return the Spark SQL condition for the person's rows.

        Args:
            type_: Spark type of the column.
            column: the column with the person's key; default: the key column.
        """
        return f"`{column or self.key}` = CAST({literal(self.id)} AS {type_})"


def literal(text: str) -> str:
    """Return a text as a literal of Spark SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def named_person(definition: Definition, text: str) -> Person:
    """Return the person with the id `text`, as given on the command line.

    Raises:
        BatchError: the definition names no table of persons, or the text is not a key of that table.
    """
    tables = [table for table in definition.tables if table.subject == SUBJECT]
    if not tables:
        what = f"the definition of {definition.name} names no table with {SUBJECT} data"
        raise BatchError(f"{what}: set `subject: {SUBJECT}` on that table and `personal: true` on its personal columns")
    return Person(dataset=definition.name, table=tables[0], id=parsed_key(tables[0], text)[0])


def rows_in_source(person: Person, settings: DatabaseSettings, database: str) -> int:
    """Count the person's rows in the source.

    Raises:
        BatchError: the source cannot be read.
    """
    table = person.table
    with connected(settings, database) as connection:
        check_columns(connection, table)
        with connection.cursor() as cursor:
            query = f"SELECT COUNT(*) FROM `{table.name}` WHERE {mysql_value(person.column)} = %s"  # noqa: S608
            cursor.execute(query, (person.id,))
            (row,) = cursor.fetchall()
            return int(str(row[0]))  # type: ignore[index]


def check_deleted_in_source(person: Person, settings: DatabaseSettings, database: str) -> None:
    """Check that the source has deleted the person's row.

    Raises:
        BatchError: the source still has the row, or cannot be read.
    """
    if rows_in_source(person, settings, database):
        raise BatchError(
            f"the source still has this {SUBJECT}'s row in {database}.{person.table.name}: delete it there first, "
            "because every snapshot, backfill and repair would bring it back; this command cannot check whether a "
            "remaining row was anonymised",
            layer="source",
            table=person.table.name,
        )
