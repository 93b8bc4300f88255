"""Types of a dataset definition: tables, columns, quality rules, completeness and the data generator."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

ENGINES = ("mysql",)
RESERVED_LAKE_FOLDERS = frozenset({"changes", "audit"})

Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Count = Annotated[int, Meta(ge=1, le=2_000_000_000)]
Weight = Annotated[float, Meta(ge=0)]
Sentence = Annotated[str, Meta(pattern=r"^\S(.*\S)?\Z")]
"""A single line of text for human readers."""


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of a definition: immutable, and an unknown field is an error."""


class LogicalType(StrEnum):
    """Type of a column's values, independent of the database engine."""

    UUID = "uuid"
    STRING = "string"
    INTEGER = "integer"
    BIGINT = "bigint"
    DECIMAL = "decimal"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"


class Column(_Part, frozen=True):
    """A column; `length` in characters for strings, `precision` and `scale` in digits for decimals.

    `description` explains the values and their unit. `personal` values belong to a person, and `erase` removes them.
    """

    name: Identifier
    type: LogicalType
    nullable: bool = False
    length: Annotated[int, Meta(ge=1)] | None = None
    precision: Annotated[int, Meta(ge=1, le=38)] | None = None
    scale: Annotated[int, Meta(ge=0, le=38)] | None = None
    description: Sentence | None = None
    personal: bool = False


class Rule(_Part, frozen=True, tag_field="check"):
    """A quality rule of a table; `action` is applied to a row that breaks it."""

    action: Literal["warn", "quarantine", "fail"]


class NotNull(Rule, frozen=True, tag="not_null"):
    """The column has a value."""

    column: Identifier


class Range(Rule, frozen=True, tag="range"):
    """The column's value is from `min` to `max`, inclusive: numbers, or days (UTC) for a date or timestamp column."""

    column: Identifier
    min: float | datetime.date | None = None
    max: float | datetime.date | None = None

    @property
    def bounds(self) -> dict[str, float | datetime.date]:
        """The bounds that are set, by name."""
        both = {"min": self.min, "max": self.max}
        return {name: bound for name, bound in both.items() if bound is not None}


class Pattern(Rule, frozen=True, tag="pattern"):
    """The whole text of the column matches the regular expression."""

    column: Identifier
    pattern: str


class Reference(Rule, frozen=True, tag="reference"):
    """The column's value is a key of another table of the dataset."""

    column: Identifier
    table: Identifier


class Unique(Rule, frozen=True, tag="unique"):
    """No two rows have the same values in these columns."""

    columns: Annotated[tuple[Identifier, ...], Meta(min_length=1)]


class Table(_Part, frozen=True):
    """A table: its row key, the key column that keys its change topic, its cursor, feed and history type (SCD).

    `description` explains a row. With history types 2 and 4, Silver keeps every version of every row. In a table with a
    `subject`, each row is one person.
    """

    name: Identifier
    key: Annotated[tuple[Identifier, ...], Meta(min_length=1)]
    columns: Annotated[tuple[Column, ...], Meta(min_length=1)]
    topic_key: Identifier | None = None
    cursor: Identifier | None = None
    feed: Literal["changes", "jdbc"] = "changes"
    history: Literal[1, 2, 4] = 1
    subject: Literal["customer"] | None = None
    description: Sentence | None = None
    rules: tuple[NotNull | Range | Pattern | Reference | Unique, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in the definition's order."""
        return tuple(column.name for column in self.columns)

    @property
    def history_name(self) -> str | None:
        """Name of the Silver table with every version of every row; None if only the newest are kept."""
        return None if self.history == 1 else f"{self.name}_history"


class Completeness(_Part, frozen=True):
    """Completeness of a parent row: `expected` (table.column) is the number of rows it must have in `children`."""

    expected: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$")]
    children: Identifier

    @property
    def parent(self) -> str:
        """Table of the parent rows."""
        return self.expected.partition(".")[0]

    @property
    def expected_column(self) -> str:
        """Column of the parent that holds the number of children."""
        return self.expected.partition(".")[2]


class OrdersGenerator(_Part, frozen=True, tag_field="kind", tag="orders"):
    """Parameters of the data generator of a shop: orders, their lines, customers and payment methods, at size 1."""

    seed: int
    orders: Count
    order_details: Count
    customers: Count
    payment_methods: Annotated[int, Meta(ge=1, le=12)]
    stores: Count
    products: Count
    first_day: datetime.date
    days: Annotated[int, Meta(ge=1, le=36_525)]
    line_weights: Annotated[tuple[Weight, ...], Meta(min_length=1)]
    hour_weights: Annotated[tuple[Weight, ...], Meta(min_length=24, max_length=24)]
    weekday_weights: Annotated[tuple[Weight, ...], Meta(min_length=7, max_length=7)]


class Definition(_Part, frozen=True):
    """A dataset, as read from `folder`; `connector` overrides settings of the engine's connector template."""

    folder: str
    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    engine: str
    database: Identifier
    tables: Annotated[tuple[Table, ...], Meta(min_length=1)]
    lake_prefix: Annotated[str, Meta(pattern=r"^([a-z][a-z0-9_]*)?$")]
    completeness: Completeness | None = None
    connector: dict[str, str] = {}
    generator: OrdersGenerator | None = None

    def table(self, name: str) -> Table:
        """Find the table `name`.

        Raises:
            KeyError: the dataset has no such table; the message lists its tables.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(f"dataset {self.name} has no table {name!r} (it has: {', '.join(t.name for t in self.tables)})")


def bound_text(bound: float | datetime.date) -> str:
    """Format a bound of a range as text."""
    return bound.isoformat() if isinstance(bound, datetime.date) else f"{bound:g}"
