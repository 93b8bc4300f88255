"""Compares the source's tables and columns with the definition: what was changed in the source since.

The connector says nothing of such changes. It captures the tables that it was named, so of a table that was renamed
nothing arrives any more; and its records have whatever columns the source has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from config.definition import Definition, LogicalType, Table
from config.engines.base import Connection, SourceSettings
from config.left_out import is_left_out
from config.naming import source_schema
from ops.database import connected
from stack.errors import StackError

COMPARE_S: Final = 30.0
"""How often the watch compares the source with the definition."""

_DO: Final = "docs/operate/schema-drift.md"
_MISSING: Final = (
    "does not exist, so nothing of it is captured: if it was renamed, write its new name into the definition "
    f"({_DO}); if it was never created, run `millrace dataset init`"
)

_DIGITS: Final = """
SELECT table_name, column_name, numeric_precision, numeric_scale FROM information_schema.columns
WHERE table_schema = %s AND numeric_precision IS NOT NULL AND data_type IN ('decimal', 'numeric')
"""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference between a table of the source and the definition.

    Attributes:
        is_wrong: whether the table's changes do not arrive, or not as the definition says.
    """

    table: str
    text: str
    is_wrong: bool

    def __str__(self) -> str:
        return f"table {self.table}: {self.text}"


def source_differences(connection: Connection, definition: Definition) -> list[Difference]:
    """Return how the tables of the source differ from the definition; columns left out on purpose are none."""
    present = connection.engine.column_types(connection)
    digits = {
        (_text(table), _text(column)): (precision, scale)
        for table, column, precision, scale in connection.rows(_DIGITS, (source_schema(definition),))
    }
    connection.rollback()
    found = []
    for table in definition.tables:
        name = table.source_name
        parts = [
            *_of_table(table, present.get(name), connection.engine.kinds, definition),
            *_of_decimals(table, digits),
        ]
        found += [Difference(table=name, text=text, is_wrong=is_wrong) for text, is_wrong in parts]
    return found


def compared(database: SourceSettings, definition: Definition) -> list[Difference]:
    """Ask the source how it differs from the definition.

    Raises:
        StackError: the database does not answer.
    """
    with connected(database, definition.database, definition.schema) as connection:
        return source_differences(connection, definition)


def _of_table(
    table: Table,
    present: Mapping[str, str] | None,
    kinds: Mapping[LogicalType, Collection[str]],
    definition: Definition,
) -> Iterator[tuple[str, bool]]:
    if not present:
        yield _MISSING, True
        return
    names = [column.source_name for column in table.columns]
    if lacking := [name for name in names if name not in present]:
        yield f"the source lacks the columns {', '.join(lacking)}: change the definition ({_DO})", True
    for column in table.columns:
        kind = present.get(column.source_name)
        if kind is not None and kind not in kinds[column.type]:
            yield f"column {column.source_name} has type {kind} in the source, not {column.type} ({_DO})", False
    more = sorted(name for name in present.keys() - {*names} if not is_left_out(table, name, definition))
    if more:
        yield f"the definition lacks the columns {', '.join(more)} ({_DO})", False


def _of_decimals(table: Table, digits: Mapping[tuple[str, str], tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    for column in table.columns:
        found = digits.get((table.source_name, column.source_name))
        own = (column.precision, column.scale)
        if column.type is LogicalType.DECIMAL and found is not None and found != own:
            shown = f"decimal({found[0]},{found[1]}) in the source, not ({own[0]},{own[1]})"
            yield f"column {column.source_name} is {shown} ({_DO})", False


def _text(name: str | bytes | bytearray) -> str:
    return name if isinstance(name, str) else bytes(name).decode()  # MySQL 8 has names as bytes


class SourceComparison:
    """Compares the source with the definition from time to time, and says what is different when that changes.

    Attributes:
        found: the differences at the last comparison.
    """

    def __init__(
        self,
        definition: Definition,
        database: SourceSettings,
        say: Say,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.found: list[Difference] = []
        self._definition = definition
        self._database = database
        self._say = say
        self._clock = clock
        self._next = clock()

    def look(self) -> None:
        """Compare if it is time; a database that does not answer is compared later."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + COMPARE_S
        try:
            found = compared(self._database, self._definition)
        except StackError:  # the connector does not run without its database either, and the watch says so
            return
        for difference in found:
            if difference not in self.found:
                self._say(f"WARNING: {difference}")
        if self.found and not found:
            self._say("the source has the tables and columns of the definition again")
        self.found = found
