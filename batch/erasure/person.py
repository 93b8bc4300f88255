"""Identifies the person to erase and the tables with rows of the person, and checks whether the source still has rows.

The definition declares these tables: one whose rows are persons (`subject` of the table), and any with a column that
refers to a person (`subject` of the column). A table that merely refers to the person by a rule, such as that of the
orders, keeps its rows: the key alone identifies nobody.
"""

from __future__ import annotations

import dataclasses
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
    """The rows of the person to erase in one table.

    Attributes:
        id: canonical text of the person's key.
        persons: name of the table whose rows are persons.
        refers_by: column of `table` that refers to the person; None if `table` is that of the persons.
    """

    dataset: str
    table: Table
    id: str
    persons: str
    refers_by: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether the table is that of the persons, so that the row with the key is the person's."""
        return self.refers_by is None

    @property
    def column(self) -> Column:
        """The column of the table that has the person's key."""
        return self.table.column(self.refers_by or self.table.key[0])

    @property
    def key(self) -> str:
        """The name of the column that has the person's key."""
        return self.column.name

    @property
    def personal(self) -> tuple[str, ...]:
        """The names of the columns with personal data."""
        return tuple(column.name for column in self.table.columns if column.personal)

    @property
    def mark(self) -> str:
        """A hash that replaces the id in the erasure report; a reader who knows the id can recompute the hash."""
        return hashlib.sha256(f"{self.dataset}/{self.persons}/{self.id}".encode()).hexdigest()

    def condition(self, type_: str, column: str | None = None) -> str:
        """Return the Spark SQL condition that selects the person's rows.

        Args:
            type_: Spark type of the column.
            column: column that contains the person's key; by default, that of `table`.
        """
        return f"`{column or self.key}` = CAST({literal(self.id)} AS {type_})"


def literal(text: str) -> str:
    """Return a text as a Spark SQL string literal, quoted and escaped."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def named_person(definition: Definition, text: str) -> Person:
    """Return the person whose id was given as `text` on the command line, with the row in the table of persons.

    Raises:
        BatchError: the definition has no table of persons, or the text is not a valid key of that table.
    """
    tables = [table for table in definition.tables if table.subject == SUBJECT]
    if not tables:
        what = f"the definition of {definition.name} has no table with {SUBJECT} data"
        raise BatchError(f"{what}: set `subject: {SUBJECT}` on the table and `personal: true` on its personal columns")
    id_ = parsed_key(tables[0], text)[0]
    return Person(dataset=definition.name, table=tables[0], id=id_, persons=tables[0].name)


def rows_elsewhere(person: Person, definition: Definition) -> list[Person]:
    """Return the person's rows in the tables that refer to persons, one for each column that does."""
    return [
        dataclasses.replace(person, table=table, refers_by=column.name)
        for table in definition.tables
        for column in table.columns
        if column.subject == SUBJECT
    ]


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
    """Check that the source database no longer has rows of the person.

    Raises:
        BatchError: the source still has such rows, or cannot be read.
    """
    if rows_in_source(person, settings, definition):
        place = f"{definition.database}.{person.table.source_name}"
        raise BatchError(
            f"the source still has rows of this {SUBJECT} in {place}: delete them there first, "
            "because every snapshot, backfill and repair would bring them back; this command cannot check whether a "
            "remaining row was anonymised",
            layer="source",
            table=person.table.name,
        )
