"""Builds the queries for the rows to compare.

Each query returns two columns: `k` is the canonical text of the key, `d` the MD5 of the row's canonical text (digest).
Rows of source tables with NULL in their key are left out: Silver refuses them, and nothing tells which row is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql import types as T  # noqa: N812

from batch.delta.rows import Rows
from batch.errors import BatchError
from batch.gold import GoldPlan
from batch.gold.plan import added_columns
from batch.storage import canonical
from config.definition import Column, Definition, LogicalType, Table
from config.engines import engine_of
from config.engines.base import Engine
from config.parameters import filled

ORACLES: Final = "oracle"
"""Subfolder of a dataset with one SQL query per Gold table, which computes the table's rows from the source."""

UNKNOWN: Final = -1
"""Key of the unknown member of a dimension; this member has no row in the source."""

_TYPES: Final = (
    (T.BooleanType, LogicalType.BOOLEAN),
    (T.IntegralType, LogicalType.BIGINT),
    (T.FractionalType, LogicalType.DOUBLE),
    (T.StringType, LogicalType.STRING),
    (T.DateType, LogicalType.DATE),
    (T.TimestampType, LogicalType.TIMESTAMP),
)


def source_query(engine: Engine, table: Table) -> str:
    """Return the SQL query for the keys and digests of a source table's rows."""
    query = _source(engine, engine.quoted(table.source_name), _key_columns(table), table.columns)
    return f"{query} WHERE NOT ({_without_key(engine, table)})"


def count_without_key(engine: Engine, table: Table) -> str:
    """Return the SQL query for the number of a source table's rows with NULL in their key."""
    return f"SELECT COUNT(*) FROM {engine.quoted(table.source_name)} WHERE {_without_key(engine, table)}"  # noqa: S608


def bronze_rows(bronze: DataFrame, table: Table, *, is_exact: bool = False) -> DataFrame:
    """Return key and digest of the newest version of each row in Bronze, without deleted rows.

    Args:
        is_exact: compute the digests from the columns, with the present definition; otherwise they are those with which
            the rows were landed, perhaps with other columns or fewer digits.
    """
    # Bronze stores values as canonical text, so its key columns are strings.
    keys = [Column(name=name, type=LogicalType.STRING) for name in table.key]
    with_key = bronze.where(" AND ".join(f"`{name}` IS NOT NULL" for name in table.key))
    digest = _digest(bronze, table) if is_exact else "_row_hash"
    key = f"{canonical.spark_text(keys)} AS k"
    versions = with_key.selectExpr(key, "_sequence", "_row_hash", "_op", f"{digest} AS d")
    # Mostly, every key of a large table has a single version, and finding that out takes less time than grouping them.
    if Rows.of(versions).is_proven_distinct_by(["k"]):
        return versions.where("_op <> 'd'").select("k", "d")
    newest = versions.groupBy("k").agg(F.max(F.struct("_sequence", "_row_hash", "_op", "d")).alias("version"))
    return newest.where("version._op <> 'd'").selectExpr("k", "version.d AS d")


def _digest(bronze: DataFrame, table: Table) -> str:
    """Return a Spark SQL expression for the digest of a Bronze row with the columns and digits of the definition."""
    texts = []
    for column in table.columns:
        text = f"`{column.name}`" if column.name in bronze.columns else "CAST(NULL AS STRING)"
        if column.type is LogicalType.DECIMAL and column.name in bronze.columns:
            number = canonical.decimal_of(text, *canonical.decimal_digits(column))
            text = f"coalesce(CAST({number} AS STRING), {text})"
        texts.append(text)
    return f"md5({canonical.joined_texts(texts)})"


def silver_rows(silver: DataFrame, table: Table) -> DataFrame:
    """Return key and digest, computed from typed values, of each Silver row that is not deleted."""
    return _lake(silver.where("NOT _deleted"), _key_columns(table), table.columns)


def gold_rows(gold: DataFrame, plan: GoldPlan) -> DataFrame:
    """Return key and digest of each Gold row, without the unknown member and former versions of members."""
    columns = gold_columns(gold, plan)
    unknown = F.lit(UNKNOWN).cast(gold.schema[plan.key[0]].dataType)
    rows = gold.where(F.col(plan.key[0]) != unknown) if plan.has_members else gold
    if plan.versions_of is not None:
        rows = rows.where("is_current")
    return _lake(rows, [columns[name] for name in plan.key], list(columns.values()))


def oracle_query(definition: Definition, plan: GoldPlan, gold: DataFrame) -> str | None:
    """Return the SQL query for the expected rows of a Gold table; None if the dataset has no such query."""
    path = Path(definition.folder, ORACLES, f"{plan.name}.sql")
    if not path.exists():
        return None
    columns = gold_columns(gold, plan)
    lines = (line for line in path.read_text("utf-8").splitlines() if not line.startswith("--"))
    engine, values = engine_of(definition), {each.name: each.typed for each in definition.parameters}
    body = filled("\n".join(lines).strip().rstrip(";"), values, engine.exact_literal)
    return _source(engine, f"({body}) AS oracle", [columns[name] for name in plan.key], list(columns.values()))


def gold_columns(gold: DataFrame, plan: GoldPlan) -> dict[str, Column]:
    """Return the columns of a Gold table's query by name; columns that the build adds are left out."""
    added = {name for name, _, _ in added_columns(plan)}
    return {each.name: _column(each.name, each.dataType) for each in gold.schema.fields if each.name not in added}


def _column(name: str, kind: T.DataType) -> Column:
    if isinstance(kind, T.DecimalType):
        return Column(name=name, type=LogicalType.DECIMAL, precision=kind.precision, scale=kind.scale, nullable=True)
    for spark_type, logical in _TYPES:
        if isinstance(kind, spark_type):
            return Column(name=name, type=logical, nullable=True)
    raise BatchError(f"cannot compare column {name}: unsupported type {kind.simpleString()}", layer="gold")


def _key_columns(table: Table) -> list[Column]:
    by_name = {column.name: column for column in table.columns}
    return [by_name[name] for name in table.key]


def _without_key(engine: Engine, table: Table) -> str:
    return " OR ".join(f"{engine.quoted(column.source_name)} IS NULL" for column in _key_columns(table))


def _source(engine: Engine, relation: str, key: Sequence[Column], row: Sequence[Column]) -> str:
    return f"SELECT {engine.row(key)} AS k, {engine.digest(engine.row(row))} AS d FROM {relation}"  # noqa: S608


def _lake(rows: DataFrame, key: Sequence[Column], row: Sequence[Column]) -> DataFrame:
    doubles = {column.name for column in (*key, *row) if column.type is LogicalType.DOUBLE}
    if doubles:
        cloudpickle.register_pickle_by_value(canonical)  # type: ignore[no-untyped-call]  # so that the nodes of a cluster need no code of ours
        rows = rows.withColumns({name: F.udf(canonical.double_text, useArrow=False)(name) for name in doubles})
    return rows.selectExpr(f"{canonical.spark_text(key)} AS k", f"md5({canonical.spark_text(row)}) AS d")
