"""Find contradictions in a well-formed dataset definition; each is reported as "key path: fault"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from config.definition import (
    ENGINES,
    RESERVED_LAKE_FOLDERS,
    Column,
    Completeness,
    Definition,
    Generator,
    LogicalType,
    OrdersGenerator,
    Table,
)
from config.lake_names import lake_name, lake_name_faults
from config.metrics import metrics_faults
from config.parameters import parameter_faults
from config.rule_faults import repeated_rules, rule_faults
from config.warehouse import warehouse_faults

_OF_POSTGRES = frozenset({LogicalType.TIME, LogicalType.INTERVAL, LogicalType.BINARY, LogicalType.ARRAY})
"""Types whose values only PostgreSQL and its connector write alike."""

_TOPIC_MAX = 249
"""Length of a topic's name in Kafka."""

COLUMNS_MAX: Final = 1_600
"""Maximum number of columns of a table: as many as PostgreSQL allows, and more than InnoDB does. The queries of the
lake name each column several times, so their planning time grows faster than the number."""

_COMPLETED = {
    "orders": ("id", "customer_id", "store_id", "payment_method_id", "num_products", "timestamp"),
    "order_details": ("order_id", "product_id", "quantity"),
    "payment_method": ("id", "name", "bank"),
    "customers": ("id",),
}
"""Columns that `streams.orders` and `streams.lookups` read."""


COMPARABLE_KEYS = (LogicalType.UUID, LogicalType.STRING, LogicalType.INTEGER, LogicalType.BIGINT)
"""Types whose values can be written in one way only, so that keys in a topic and in the database can be compared."""


def faults(definition: Definition) -> list[str]:
    """List the contradictions in a well-formed definition, each as "key path: fault"."""
    found = []
    if definition.engine not in ENGINES:
        found.append(f"engine: unknown engine {definition.engine!r} (known: {', '.join(ENGINES)})")
    if definition.lake_prefix in RESERVED_LAKE_FOLDERS:
        found.append(f"lake_prefix: {definition.lake_prefix!r} is reserved")
    names = [name for table in definition.tables for name in (table.name, table.history_name) if name is not None]
    found += [f"tables: table {name!r} is defined twice" for name in _repeated(iter(names))]
    found += lake_name_faults(definition.tables)
    for index, table in enumerate(definition.tables):
        found += [f"tables[{index}].{fault}" for fault in _table_faults(definition, table)]
    if definition.completeness:
        wrong = list(_completeness_faults(definition, definition.completeness))
        found += [f"completeness.{fault}" for fault in wrong]
        found += [] if wrong else list(_unobeyed(definition, definition.completeness))
    if definition.generator:
        found += [f"generator.{fault}" for fault in _generator_faults(definition.generator)]
    found += _engine_faults(definition)
    found += _snapshot_faults(definition)
    found += subject_faults(definition.tables)
    found += warehouse_faults(definition.tables)
    found += metrics_faults(definition.tables, definition.metrics)
    found += parameter_faults(definition.parameters)
    return found


def _engine_faults(definition: Definition) -> Iterator[str]:
    if definition.schema is not None and definition.engine != "postgres":
        yield f"schema: engine {definition.engine} has no schemas in a database"
    for index, table in enumerate(definition.tables):
        yield from (
            f"tables[{index}].columns[{place}].type: {column.type} is read from PostgreSQL only: leave the column out"
            for place, column in enumerate(table.columns)
            if definition.engine != "postgres" and column.type in _OF_POSTGRES
        )
        if len(f"{definition.topic_prefix}.{table.name}") > _TOPIC_MAX:
            yield f"tables[{index}].name: the name of its topic would have more than {_TOPIC_MAX} characters"


def _repeated(names: Iterator[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _snapshot_faults(definition: Definition) -> Iterator[str]:
    """List the tables that must not be read incrementally."""
    awaited = {name for name in _COMPLETED if name != "customers"} if definition.completeness else set()
    for index, table in enumerate(definition.tables):
        if table.snapshot == "incremental" and table.name in awaited:
            yield f"tables[{index}].snapshot: orders cannot be completed without {table.name}, so it must be initial"
        types = {column.name: column.type for column in table.columns if column.name in table.key}
        yield from (
            f"tables[{index}].snapshot: key column {name!r} of type {kind} can be written in several ways, so nobody "
            "could tell which rows were read: it must be initial"
            for name, kind in types.items()
            if table.snapshot == "incremental" and kind not in COMPARABLE_KEYS
        )
    if len(definition.incremental_tables) == len(definition.tables):
        yield "tables: at least one table must be read by the initial snapshot (snapshot: initial)"


def _table_faults(definition: Definition, table: Table) -> Iterator[str]:
    names = table.column_names
    if len(names) > COLUMNS_MAX:
        yield f"columns: {len(names):,} columns are more than the {COLUMNS_MAX:,} that a table may have: leave some out"
        return  # the checks below take time
    if not definition.lake_prefix and lake_name(table.name) in RESERVED_LAKE_FOLDERS:
        yield f"name: {table.name!r} is reserved if lake_prefix is empty"
    yield from (f"columns: column {name!r} is defined twice" for name in _repeated(iter(names)))
    yield from (f"key: column {name!r} is used twice" for name in _repeated(iter(table.key)))
    yield from (f"key[{i}]: column {name!r} does not exist" for i, name in enumerate(table.key) if name not in names)
    if table.topic_key is not None and table.topic_key not in table.key:
        keys, name = ", ".join(table.key), repr(table.topic_key)
        yield (
            f"topic_key: {name} is not a part of the key ({keys}), so no record has it in its key: name columns as key "
            f"that are unique, {name} among them; if they are not the table's primary key, set message.key.columns to "
            "them under `connector`"
        )
    if table.cursor is not None and table.cursor not in names:
        yield f"cursor: column {table.cursor!r} does not exist"
    for index, column in enumerate(table.columns):
        if column.nullable and column.name in table.key:
            yield f"columns[{index}].nullable: a key column can't be null"
        yield from (f"columns[{index}].{fault}" for fault in _column_faults(column))
        if column.zero_is_null:
            yield from (f"columns[{index}].zero_is_null: {fault}" for fault in _zero_faults(definition, table, column))
    yield from repeated_rules(table)
    for index, rule in enumerate(table.rules):
        yield from (f"rules[{index}].{fault}" for fault in rule_faults(definition, table, rule))


def _column_faults(column: Column) -> Iterator[str]:
    if column.length is not None and column.type is not LogicalType.STRING:
        yield f"length: applies only to strings, not to type {column.type}"
    decimal = column.type is LogicalType.DECIMAL
    if not decimal and (column.precision is not None or column.scale is not None):
        yield f"precision: precision and scale apply only to decimals, not to type {column.type}"
    elif decimal and (column.precision is None or column.scale is None):
        yield "precision: a decimal needs precision and scale"
    elif column.precision is not None and column.scale is not None and column.scale > column.precision:
        yield f"scale: {column.scale} is more than the precision {column.precision}"


def _zero_faults(definition: Definition, table: Table, column: Column) -> Iterator[str]:
    if definition.engine != "mysql" or column.type not in (LogicalType.DATE, LogicalType.TIMESTAMP):
        yield "applies only to dates and timestamps of MySQL and MariaDB"
    if not column.nullable:
        yield "the column must be nullable"
    if table.feed != "jdbc":
        yield "applies only to the feed jdbc: in the feed changes, the connector itself replaces zero dates"


def subject_faults(tables: Sequence[Table]) -> Iterator[str]:
    """List contradictions between the subjects, the key and the personal columns of each table."""
    seen: dict[str, str] = {}
    persons = {table.subject for table in tables}
    for index, table in enumerate(tables):
        personal = [column.name for column in table.columns if column.personal]
        place = f"tables[{index}]"
        yield from (
            f"{place}.columns: {name!r} is part of the key, which is never erased"
            for name in personal
            if name in table.key
        )
        yield from (f"{place}.columns: {fault}" for fault in _referring_faults(table, persons))
        if table.subject is None:
            of_nobody = [] if any(column.subject for column in table.columns) else personal
            yield from (f"{place}.columns: {name!r} can't be personal: the table has no subject" for name in of_nobody)
            continue
        if not personal:
            yield f"{place}.subject: none of the columns is personal"
        if len(table.key) != 1:
            yield f"{place}.subject: needs a key of exactly one column, which identifies the person"
        if table.subject in seen:
            yield f"{place}.subject: {table.subject!r} is already the subject of table {seen[table.subject]!r}"
        seen[table.subject] = table.name


def _referring_faults(table: Table, persons: Collection[str | None]) -> Iterator[str]:
    """List contradictions of columns that refer to a person."""
    for column in table.columns:
        if column.subject is not None and column.subject not in persons:
            yield f"{column.name!r} has the subject {column.subject!r}, which no table has"
        if column.subject is not None and table.subject is not None:
            yield f"{column.name!r} can't have a subject: the rows of the table are persons themselves"


def _completeness_faults(definition: Definition, rule: Completeness) -> Iterator[str]:
    """List the tables and columns that the completeness rule references and that are missing or unsuitable."""
    tables = {table.name: table for table in definition.tables}
    parent, children = tables.get(rule.parent), tables.get(rule.children)
    if parent is None:
        yield f"expected: table {rule.parent!r} does not exist"
    elif rule.expected_column not in parent.column_names:
        yield f"expected: table {rule.parent!r} has no column {rule.expected_column!r}"
    elif rule.expected_column not in _whole_number_columns(parent):
        yield f"expected: column {rule.expected_column!r} must hold whole numbers"
    if children is None:
        yield f"children: table {rule.children!r} does not exist"
    for place, table in (("expected", parent), ("children", children)):
        if table is not None and table.topic_key is None:
            yield f"{place}: table {table.name!r} needs a topic_key, so that parents and children share a partition"


def _unobeyed(definition: Definition, rule: Completeness) -> Iterator[str]:
    """List why `streams.orders` cannot obey the rule: it knows tables and columns of one shape only."""
    lacking = [
        f"{name}.{column}"
        for name, columns in _COMPLETED.items()
        for column in columns
        if column not in next((table.column_names for table in definition.tables if table.name == name), ())
    ]
    is_other = (rule.expected, rule.children) != ("orders.num_products", "order_details")
    if is_other or lacking or definition.engine != "mysql" or definition.topics is not None:
        details = f"; missing: {', '.join(lacking)}" if lacking else ""
        yield (
            "completeness: the streams complete the orders of a MySQL or MariaDB database with the tables and columns "
            f"of project_db only, in topics without a prefix of their own{details}; remove `completeness`"
        )


def _whole_number_columns(table: Table) -> set[str]:
    return {column.name for column in table.columns if column.type in ("integer", "bigint")}


def _generator_faults(generator: Generator) -> Iterator[str]:
    """List parameters of the generator that contradict each other."""
    most = len(generator.line_weights) * generator.orders
    if not generator.orders <= generator.order_details <= most:
        name = "order_details" if isinstance(generator, OrdersGenerator) else "order_items"
        yield f"{name}: must be from {generator.orders} to {most} (1 to {len(generator.line_weights)} per order)"
    if len(generator.line_weights) > generator.products:
        yield "line_weights: an order can't have more lines than there are products"
    for name in ("line_weights", "hour_weights", "weekday_weights"):
        if sum(getattr(generator, name, (1,))) <= 0:
            yield f"{name}: at least one weight must be above 0"
