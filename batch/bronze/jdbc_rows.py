"""Reads a source table over JDBC; the database itself converts every value to its canonical text.

For this reason, no driver, dialect or time zone can alter a value: microseconds and decimals arrive exactly as stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.large_rows import BYTES, Sizes
from batch.bronze.rest import REST
from batch.bronze.table import table_error
from batch.bronze.windows import source_cursor
from batch.storage.canonical import time_text
from config.definition import Column, Definition, LogicalType, Table
from config.engines import engine_for
from config.engines.base import Connection, Engine, SourceSettings
from config.left_out import is_left_out


def read_source(
    spark: SparkSession,
    settings: SourceSettings,
    definition: Definition,
    table: Table,
    where: str,
    *,
    rest: Sequence[Column] = (),
    sizes: Sizes = Sizes(),  # noqa: B008 - it is frozen
) -> DataFrame:
    """Return the rows of a source table that satisfy `where`, an SQL condition; all values are strings.

    Args:
        rest: columns that the definition lacks, whose values are put into `_rest`.
        sizes: sizes of these rows; if some are too large, all rows get the column `BYTES`, and the large ones have
            NULL in place of long values.
    """
    engine = engine_for(settings)
    value = _value_unless_large(engine, sizes)
    values = ", ".join(f"{value(column)} AS {engine.quoted(column.name)}" for column in table.columns)
    more = {f"_rest_{number}": column for number, column in enumerate(rest)}
    values += "".join(f", {value(column)} AS {engine.quoted(name)}" for name, column in more.items())
    values += f", {sizes.size(engine)} AS {engine.quoted(BYTES)}" if sizes.has_larger else ""
    query = f"(SELECT {values} FROM {engine.quoted(table.source_name)} WHERE {where}) AS source"  # noqa: S608 - the definition's own names
    options = engine.jdbc(settings, definition.database, definition.schema)
    rows = spark.read.format("jdbc").options(**options, dbtable=query, fetchsize=sizes.fetch_rows).load()
    texts = [F.col(name).cast("string").alias(name) for name in table.column_names]
    others = [F.col(name).cast("string").alias(column.name) for name, column in more.items()]
    # `to_json` omits the names of values that are NULL, as Bronze does with the feed `changes`.
    kept = [F.nullif(F.to_json(F.struct(*others)), F.lit("{}")).alias(REST)] if rest else []
    size = [F.col(BYTES).cast("bigint").alias(BYTES)] if sizes.has_larger else []
    return rows.select(*texts, *kept, *size)


def _value_unless_large(engine: Engine, sizes: Sizes) -> Callable[[Column], str]:
    """Return a function that writes the SQL expression for a column's value, which is NULL if a row is too large."""
    long_ones = {column.source_name for column in sizes.columns} if sizes.has_larger else set()

    def value(column: Column) -> str:
        text = engine.value(column)
        if column.source_name not in long_ones:
            return text
        return f"CASE WHEN {sizes.size(engine)} <= {sizes.allowed} THEN {text} END"

    return value


def check_columns(connection: Connection, table: Table) -> dict[str, str]:
    """Check that the source has the definition's columns; return the types, by name, of those that it lacks.

    Raises:
        BatchError: the source lacks the table or a column of the definition, or a column has another type.
    """
    kinds = connection.engine.kinds
    found = connection.engine.column_types(connection).get(table.source_name, {})
    if not found:
        raise table_error(table, "table not found in the source: create it, or remove it from the definition")
    faults = [f"{column.source_name} is missing" for column in table.columns if column.source_name not in found]
    faults += [
        f"{name} has type {found[name]} instead of {column.type}"
        for name, column in ((column.source_name, column) for column in table.columns)
        if name in found and found[name] not in kinds[column.type]
    ]
    if faults:
        what = f"columns of the source differ from the definition ({'; '.join(faults)})"
        raise table_error(table, f"{what}: nothing was written; change the definition, then run again")
    return {name: kind for name, kind in sorted(found.items()) if name not in table.lake_columns}


def check_key(connection: Connection, table: Table) -> None:
    """Check that no two rows of the source have the same key; rows with NULL in their key do not count.

    Of two such rows, each run would find the one that it landed last to be the only one, and land the other again.

    Raises:
        BatchError: some keys occur more than once.
    """
    names = [connection.quoted(table.column(name).source_name) for name in table.key]
    known, source = " AND ".join(f"{name} IS NOT NULL" for name in names), connection.quoted(table.source_name)
    twice = f"SELECT 1 FROM {source} WHERE {known} GROUP BY {', '.join(names)} HAVING COUNT(*) > 1"  # noqa: S608 - the definition's own names
    if count := int(connection.value(f"SELECT COUNT(*) FROM ({twice}) AS twice")):  # noqa: S608 - as above
        what = f"the key ({', '.join(table.key)}) is not unique in the source: {count:,} keys occur more than once"
        raise table_error(table, f"{what}: nothing was written; define a key whose values are unique")


def columns_to_keep(engine: Engine, table: Table, others: Mapping[str, str], definition: Definition) -> list[Column]:
    """Return those of the source's other columns, given their types by name, whose values Bronze keeps in `_rest`."""
    can_be_read = {name: kind for name, kind in others.items() if name.isidentifier() and name.isascii()}
    types = {name: _type_of(kind, engine) for name, kind in can_be_read.items()}
    return [
        Column(name=name, type=type_)
        for name, type_ in types.items()
        if type_ is not None and not is_left_out(table, name, definition)
    ]


def _type_of(kind: str, engine: Engine) -> LogicalType | None:
    """Return the logical type as which a type of the database is read; None if it cannot be read."""
    found = [type_ for type_, kinds in engine.kinds.items() if kind in kinds]
    plain = [type_ for type_ in found if type_ is not LogicalType.UUID]  # any text may be an id
    return next(iter(plain or found), None)


def rows_ahead(connection: Connection, table: Table, now: datetime) -> int:
    """Return the number of rows of a source table whose cursor is later than the database's time."""
    return matching_rows(connection, table, f"{connection.quoted(source_cursor(table))} > '{time_text(now)}'")


def matching_rows(connection: Connection, table: Table, condition: str) -> int:
    """Return the number of rows of a source table that satisfy `condition`, in SQL."""
    quoted = connection.quoted
    return int(connection.value(f"SELECT COUNT(*) FROM {quoted(table.source_name)} WHERE {condition}"))  # noqa: S608 - the definition's own names
