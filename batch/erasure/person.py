"""Identifies the person to erase, and checks whether the source still has the person's row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from batch.bronze.jdbc_rows import check_columns
from batch.console.keys import parsed_key
from batch.errors import BatchError
from batch.storage.database import connected
from config.definition import Column, Definition, Table
from config.engines.base import SourceSettings

SUBJECT: Final = "customer"


@dataclass(frozen=True, kw_only=True)
class Person:
    """The person to erase: one row of `table`; `id` is the canonical text of the row's key."""

    dataset: str
    table: Table
    id: str

    @property
    def column(self) -> Column:
        """The key column of the person's table."""
        return next(column for column in self.table.columns if column.name == self.table.key[0])

    @property
    def key(self) -> str:
        """The name of the key column of the person's table."""
        return self.column.name

    @property
    def personal(self) -> tuple[str, ...]:
        """The names of the columns with personal data."""
        return tuple(column.name for column in self.table.columns if column.personal)

    @property
    def mark(self) -> str:
        """A hash that replaces the id in the erasure report; a reader who knows the id can recompute the hash."""
        return hashlib.sha256(f"{self.dataset}/{self.table.name}/{self.id}".encode()).hexdigest()

    def condition(self, type_: str, column: str | None = None) -> str:
        """Return the Spark SQL condition that selects the person's rows.

        Args:
            type_: Spark type of the column.
            column: column that contains the person's key; by default, the key column of the person's table.
        """
        return f"`{column or self.key}` = CAST({literal(self.id)} AS {type_})"


def literal(text: str) -> str:
    """Return a text as a Spark SQL string literal, quoted and escaped."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def named_person(definition: Definition, text: str) -> Person:
    """Return the person whose id was given as `text` on the command line.

    Raises:
        BatchError: the definition has no table of persons, or the text is not a valid key of that table.
    """
    tables = [table for table in definition.tables if table.subject == SUBJECT]
    if not tables:
        what = f"the definition of {definition.name} has no table with {SUBJECT} data"
        raise BatchError(f"{what}: set `subject: {SUBJECT}` on the table and `personal: true` on its personal columns")
    return Person(dataset=definition.name, table=tables[0], id=parsed_key(tables[0], text)[0])


def rows_in_source(person: Person, settings: SourceSettings, definition: Definition) -> int:
    """Count the person's rows in the source database.

    Raises:
        BatchError: the source cannot be read.
    """
    table = person.table
    with connected(settings, definition.database, definition.schema) as connection:
        check_columns(connection, table)
        engine = connection.engine
        query = f"SELECT COUNT(*) FROM {engine.quoted(table.source_name)} WHERE {engine.value(person.column)} = %s"  # noqa: S608
        return int(connection.value(query, (person.id,)))


def check_deleted_in_source(person: Person, settings: SourceSettings, definition: Definition) -> None:
    """Check that the source database no longer has the person's row.

    Raises:
        BatchError: the source still has the row, or cannot be read.
    """
    if rows_in_source(person, settings, definition):
        raise BatchError(
            f"the source still has this {SUBJECT}'s row in {definition.database}.{person.table.source_name}: delete it "
            "there first, because every snapshot, backfill and repair would bring it back; this command cannot check "
            "whether a remaining row was anonymised",
            layer="source",
            table=person.table.name,
        )
