"""Types of a dataset definition: tables, columns, quality rules, completeness and the data generator."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, field

from config.definition_generators import Generator as Generator
from config.definition_generators import OrdersGenerator as OrdersGenerator
from config.definition_generators import ShopGenerator as ShopGenerator
from config.definition_generators import StoreGenerator as StoreGenerator
from config.definition_metrics import Metrics
from config.definition_part import Identifier, Part
from config.parameters import Parameter

ENGINES = ("mysql", "postgres")
RESERVED_LAKE_FOLDERS = frozenset({"changes", "audit"})

TopicPrefix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z", max_length=150)]
FolderName = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=100)]
Sentence = Annotated[str, Meta(pattern=r"^\S(.*\S)?\Z")]
"""A single line of text for human readers."""


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
    TIME = "time"
    INTERVAL = "interval"
    BINARY = "binary"
    ARRAY = "array"


class Column(Part, frozen=True):
    """A column of a table.

    Attributes:
        length: maximum length of a string, in characters.
        precision: maximum number of digits of a decimal.
        scale: maximum number of digits of a decimal after the decimal point.
        description: explanation of the values and their unit.
        personal: whether the values are personal data, which `millrace lake erase` removes.
        subject: kind of person whose key the column has; the rows of a person are erased with the person.
        zero_is_null: whether the zero date of MySQL (0000-00-00) stands for NULL.
    """

    name: Identifier
    type: LogicalType
    nullable: bool = False
    length: Annotated[int, Meta(ge=1)] | None = None
    precision: Annotated[int, Meta(ge=1, le=38)] | None = None
    scale: Annotated[int, Meta(ge=0, le=38)] | None = None
    description: Sentence | None = None
    personal: bool = False
    subject: Literal["customer"] | None = None
    zero_is_null: bool = False

    @property
    def source_name(self) -> str:
        """Name of the column in the source, which may have another one in the lake (`config.lake_names`)."""
        return self.name


class Rule(Part, frozen=True, tag_field="check"):
    """A quality rule of a table; `action` is applied to a row that breaks it."""

    action: Literal["warn", "quarantine", "fail"]


class NotNull(Rule, frozen=True, tag="not_null"):
    """A rule that the column is not null."""

    column: Identifier


class Range(Rule, frozen=True, tag="range"):
    """A rule that a value is from `min` to `max`, inclusive: numbers, or days (UTC) for dates and timestamps."""

    column: Identifier
    min: float | datetime.date | None = None
    max: float | datetime.date | None = None

    @property
    def bounds(self) -> dict[str, float | datetime.date]:
        """The bounds that are set, keyed by `min` and `max`."""
        both = {"min": self.min, "max": self.max}
        return {name: bound for name, bound in both.items() if bound is not None}


class Pattern(Rule, frozen=True, tag="pattern"):
    """A rule that the whole text of the column matches a regular expression."""

    column: Identifier
    pattern: str


class Reference(Rule, frozen=True, tag="reference"):
    """A rule that the column's value is a key of another table of the dataset."""

    column: Identifier
    table: Identifier


class Unique(Rule, frozen=True, tag="unique"):
    """A rule that no two rows have the same values in the given columns."""

    columns: Annotated[tuple[Identifier, ...], Meta(min_length=1)]


class Ascending(Rule, frozen=True, tag="ascending"):
    """A rule that the second column's value is not below the first one's; it holds if one of them is null."""

    columns: Annotated[tuple[Identifier, ...], Meta(min_length=2, max_length=2)]


class AtMost(Rule, frozen=True, tag="at_most"):
    """A rule that the column's value is not above a column of the row that it refers to.

    Attributes:
        by: column with the key of that row.
        table: table in which that row is.
        of: column of that table with the limit.
    """

    column: Identifier
    by: Identifier
    table: Identifier
    of: Identifier


class Forward(Rule, frozen=True, tag="forward"):
    """A rule that the column of a row never gets a value that stands before its former one in the list `values`."""

    column: Identifier
    values: Annotated[tuple[str, ...], Meta(min_length=2)]


class WarehouseTable(Part, frozen=True):
    """A table of the warehouse, which has the newest version of every row of a source table.

    Attributes:
        table: name of the table in the warehouse.
        kind: a dimension also has the times at which each row was first and last seen; a fact, when it happened.
        key: names of the key's columns in the warehouse; by default, those of the source.
    """

    table: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=63)]
    kind: Literal["dimension", "fact"]
    key: tuple[Identifier, ...] = ()


class Table(Part, frozen=True):
    """A table of a dataset.

    Attributes:
        key: columns of the primary key.
        topic_key: key column whose value becomes the key of the table's change records in Kafka.
        cursor: time column that shows which rows changed.
        feed: way in which the lake reads the table: from the archived changes, or from the database by JDBC.
        snapshot: when the connector reads the rows that exist at its first start: in its initial snapshot, which begins
            again if it is interrupted, or afterwards and in parts, incrementally, while changes are published already.
        history: type of slowly changing dimension (SCD); with types 2 and 4, Silver keeps every version of every row.
        subject: kind of person that each row describes; None if the rows do not describe persons.
        warehouse: table of the warehouse with the rows; None if the warehouse has none.
        description: explanation of what a row is.
    """

    name: Identifier
    key: Annotated[tuple[Identifier, ...], Meta(min_length=1)]
    columns: Annotated[tuple[Column, ...], Meta(min_length=1)]
    topic_key: Identifier | None = None
    cursor: Identifier | None = None
    feed: Literal["changes", "jdbc"] = "changes"
    snapshot: Literal["initial", "incremental"] = "initial"
    history: Literal[1, 2, 4] = 1
    subject: Literal["customer"] | None = None
    warehouse: WarehouseTable | None = None
    description: Sentence | None = None
    rules: tuple[NotNull | Range | Pattern | Reference | Unique | Ascending | AtMost | Forward, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in the definition's order."""
        return tuple(column.name for column in self.columns)

    @property
    def source_name(self) -> str:
        """Name of the table in the source, which may have another one in the lake (`config.lake_names`)."""
        return self.name

    @property
    def lake_columns(self) -> dict[str, str]:
        """Names of the columns as this table has them, keyed by their names in the source."""
        return {column.source_name: column.name for column in self.columns}

    def column(self, name: str) -> Column:
        """Find the column `name`, which exists."""
        return next(column for column in self.columns if column.name == name)

    @property
    def history_name(self) -> str | None:
        """Name of the Silver table with every version of every row; None if Silver keeps only the newest versions."""
        return None if self.history == 1 else f"{self.name}_history"


class Completeness(Part, frozen=True):
    """A rule for when a parent row is complete.

    Attributes:
        expected: column, as `table.column`, with the number of child rows that a complete parent row has.
        children: table of the child rows.
    """

    expected: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*\Z")]
    children: Identifier

    @property
    def parent(self) -> str:
        """Name of the parent table."""
        return self.expected.partition(".")[0]

    @property
    def expected_column(self) -> str:
        """Name of the parent table's column with the expected number of child rows."""
        return self.expected.partition(".")[2]


class Definition(Part, frozen=True):
    """The definition of a dataset, read from `folder`.

    Attributes:
        schema: schema of the database in which the tables are, for engines that have schemas.
        topics: beginning of the names of the topics with the tables' changes; by default, engine and dataset.
        metrics: tables and columns of the live figures.
        parameters: values that the queries of Gold name as `:name`.
        raw_records: folder below PROCESSED_ROOT for the archive's records as plain Parquet files.
        connector: settings that override those of the connector's template.
    """

    folder: str
    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\Z", max_length=64)]
    engine: str
    database: Identifier
    tables: Annotated[tuple[Table, ...], Meta(min_length=1)]
    lake_prefix: Annotated[str, Meta(pattern=r"^([a-z][a-z0-9_]*)?\Z")]
    schema: Identifier | None = None
    topics: TopicPrefix | None = None
    completeness: Completeness | None = None
    metrics: Metrics = Metrics()
    connector: dict[str, str] = field(default_factory=dict)
    generator: Generator | None = None
    parameters: tuple[Parameter, ...] = ()
    raw_records: FolderName | None = None

    @property
    def topic_prefix(self) -> str:
        """Beginning of the names of the topics with the tables' changes, without the last dot."""
        return self.topics or f"{self.engine}.{self.name}"

    @property
    def completes_orders(self) -> bool:
        """Whether the application `streams.orders` completes the orders of this dataset."""
        return self.completeness is not None

    @property
    def incremental_tables(self) -> tuple[Table, ...]:
        """The tables that the connector's initial snapshot leaves out."""
        return tuple(table for table in self.tables if table.snapshot == "incremental")

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
    """Format a bound of a `Range` as text."""
    return bound.isoformat() if isinstance(bound, datetime.date) else f"{bound:g}"
