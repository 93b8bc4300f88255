"""The shape of a dataset definition, and the rules that its parts keep among each other."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from config.contradictions import completeness_faults, generator_faults, subject_faults

ENGINES = ("mysql",)
RESERVED_LAKE_FOLDERS = frozenset({"changes", "audit"})

Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Count = Annotated[int, Meta(ge=1, le=2_000_000_000)]
Weight = Annotated[float, Meta(ge=0)]
Sentence = Annotated[str, Meta(pattern=r"^\S(.*\S)?\Z")]
"""A text in one line, for people."""


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Definitions don't change once read, and a misspelt field is an error."""


class LogicalType(StrEnum):
    """What a column holds, independent of the engine."""

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

    `description` says what its values mean, and their unit. `personal` values are a person's, and `erase` removes them.
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
    """A quality rule of a table; `action` says what happens to a row that breaks it."""

    action: Literal["warn", "quarantine", "fail"]


class NotNull(Rule, frozen=True, tag="not_null"):
    """The column has a value."""

    column: Identifier


class Range(Rule, frozen=True, tag="range"):
    """The column's value is not below `min` and not above `max`: numbers, or of a date or timestamp days (UTC)."""

    column: Identifier
    min: float | datetime.date | None = None
    max: float | datetime.date | None = None

    @property
    def bounds(self) -> dict[str, float | datetime.date]:
        """Those that there are, by name."""
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
    """A table: its row key, the part of the key that orders its topic, its cursor, feed and history type (SCD).

    `description` says what a row is. With the history types 2 and 4 Silver keeps every version of every row. Of a table
    with a `subject` each row is one person.
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
        """The table of Silver with every version of every row; None if it keeps the newest ones only."""
        return None if self.history == 1 else f"{self.name}_history"


class Completeness(_Part, frozen=True):
    """When a parent row is complete: `expected` (table.column) counts the rows that `children` must hold for it."""

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
    """Parameters of the generator of a shop with orders, their lines, customers and payment methods, at size 1."""

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
    """A dataset. `folder` is where it was read from; `connector` is laid over the engine's connector template."""

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
        """The table `name`.

        Raises:
            KeyError: there is no such table; the message lists those there are.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(f"dataset {self.name} has no table {name!r} (it has: {', '.join(t.name for t in self.tables)})")


def faults(definition: Definition) -> list[str]:
    """Contradictions inside a well-formed definition, each as "key path: what is wrong"."""
    found = []
    if definition.engine not in ENGINES:
        found.append(f"engine: unknown engine {definition.engine!r} (known: {', '.join(ENGINES)})")
    if definition.lake_prefix in RESERVED_LAKE_FOLDERS:
        found.append(f"lake_prefix: {definition.lake_prefix!r} is reserved")
    names = [name for table in definition.tables for name in (table.name, table.history_name) if name is not None]
    found += [f"tables: table {name!r} is defined twice" for name in _repeated(iter(names))]
    for index, table in enumerate(definition.tables):
        found += [f"tables[{index}].{fault}" for fault in _table_faults(definition, table)]
    if definition.completeness:
        found += [f"completeness.{fault}" for fault in completeness_faults(definition, definition.completeness)]
    if definition.generator:
        found += [f"generator.{fault}" for fault in generator_faults(definition.generator)]
    found += subject_faults(definition.tables)
    return found


def _repeated(names: Iterator[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _table_faults(definition: Definition, table: Table) -> Iterator[str]:
    names = table.column_names
    if not definition.lake_prefix and table.name.lower() in RESERVED_LAKE_FOLDERS:
        yield f"name: {table.name!r} is reserved in a lake without prefix"
    yield from (f"columns: column {name!r} is defined twice" for name in _repeated(iter(names)))
    yield from (f"key: column {name!r} is used twice" for name in _repeated(iter(table.key)))
    yield from (f"key[{i}]: column {name!r} does not exist" for i, name in enumerate(table.key) if name not in names)
    if table.topic_key is not None and table.topic_key not in table.key:
        yield f"topic_key: {table.topic_key!r} is not a part of the key ({', '.join(table.key)})"
    if table.cursor is not None and table.cursor not in names:
        yield f"cursor: column {table.cursor!r} does not exist"
    for index, column in enumerate(table.columns):
        if column.nullable and column.name in table.key:
            yield f"columns[{index}].nullable: a key column can't be null"
        yield from (f"columns[{index}].{fault}" for fault in _column_faults(column))
    for index, rule in enumerate(table.rules):
        yield from (f"rules[{index}].{fault}" for fault in _rule_faults(definition, table, rule))


def _column_faults(column: Column) -> Iterator[str]:
    if column.length is not None and column.type is not LogicalType.STRING:
        yield f"length: is for strings, not for type {column.type}"
    decimal = column.type is LogicalType.DECIMAL
    if not decimal and (column.precision is not None or column.scale is not None):
        yield f"precision: precision and scale are for decimals, not for type {column.type}"
    elif decimal and (column.precision is None or column.scale is None):
        yield "precision: a decimal needs precision and scale"
    elif column.precision is not None and column.scale is not None and column.scale > column.precision:
        yield f"scale: {column.scale} is more than the precision {column.precision}"


def _rule_faults(definition: Definition, table: Table, rule: Rule) -> Iterator[str]:
    columns = rule.columns if isinstance(rule, Unique) else (rule.column,)  # type: ignore[attr-defined]
    yield from (f"column: column {name!r} does not exist" for name in columns if name not in table.column_names)
    if isinstance(rule, Reference):
        parents = [t for t in definition.tables if t.name == rule.table]
        if not parents:
            yield f"table: table {rule.table!r} does not exist"
        elif len(parents[0].key) != 1:
            yield f"table: the key of table {rule.table!r} has several columns"
    elif isinstance(rule, Pattern):
        try:
            re.compile(rule.pattern)
        except re.error as error:
            yield f"pattern: is no regular expression: {error}"
    elif isinstance(rule, Range):
        yield from _range_faults(table, rule)


def _range_faults(table: Table, rule: Range) -> Iterator[str]:
    low, high = rule.min, rule.max
    if not rule.bounds:
        yield "min: a range needs min, max or both"
    are_comparable = isinstance(low, datetime.date) is isinstance(high, datetime.date)
    if low is not None and high is not None and are_comparable and low > high:  # type: ignore[operator]
        yield f"min: {bound_text(low)} is above max {bound_text(high)}"
    for column in table.columns:
        if column.name == rule.column:
            of_days = column.type in (LogicalType.DATE, LogicalType.TIMESTAMP)
            kind = "a day, as in 2000-01-31" if of_days else "a number"
            wrong = [name for name, bound in rule.bounds.items() if isinstance(bound, datetime.date) is not of_days]
            yield from (f"{name}: must be {kind}, as {column.name!r} is of type {column.type}" for name in wrong)


def bound_text(bound: float | datetime.date) -> str:
    """A bound of a range, for people."""
    return bound.isoformat() if isinstance(bound, datetime.date) else f"{bound:g}"
