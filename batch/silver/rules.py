"""Quality rules: finds the rows of a table that break a rule, and applies the action of the rule.

A rule checks either a single row (`not_null`, `range`, `pattern`, `ascending`), or a row against other rows
(`batch.silver.cross_row_rules`).
Some rules apply to every table: each value must be valid for its column's type (`type`), and neither a key column nor
the sequence may be NULL (`not_null`). Rules other than `not_null` accept NULL. For a delete, only the key and the
sequence are checked.

One pass over the rows adds `_violations`, the names of the rules that a row breaks; one Spark job counts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.delta.rows import Rows
from batch.delta.snapshot import Source
from batch.errors import BatchError
from batch.silver.versions import NEWER, newest
from batch.storage import canonical
from config.definition import (
    Ascending,
    AtMost,
    Forward,
    LogicalType,
    NotNull,
    Pattern,
    Range,
    Reference,
    Table,
    Unique,
)
from config.definition import Column as SourceColumn

Action = Literal["warn", "quarantine", "fail"]

RowRule = NotNull | Range | Pattern | Ascending
CrossRowRule = Reference | Unique | AtMost | Forward

VIOLATIONS: Final = "_violations"
TYPES: Final = {
    LogicalType.UUID: "string",
    LogicalType.STRING: "string",
    LogicalType.INTEGER: "int",
    LogicalType.BIGINT: "bigint",
    LogicalType.DOUBLE: "double",
    LogicalType.BOOLEAN: "boolean",
    LogicalType.DATE: "date",
    LogicalType.TIMESTAMP: "timestamp",
    LogicalType.TIME: "string",
    LogicalType.INTERVAL: "string",
    LogicalType.BINARY: "string",
    LogicalType.ARRAY: "string",
}


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The number of checked rows, and how many of them break each rule.

    Attributes:
        rows: number of checked rows.
        broken: number of rows that break a rule, by rule name; rules that no row breaks are omitted.
        examples: for each broken rule, by name, the key of one row that breaks it, as JSON.
    """

    rows: int
    broken: Mapping[str, int]
    examples: Mapping[str, str]


def spark_type(column: SourceColumn) -> str:
    """Return the Spark SQL type that a source column has in Silver, such as `decimal(10,2)`."""
    if column.type is LogicalType.DECIMAL:
        return f"decimal({column.precision},{column.scale})"
    return TYPES[column.type]


def actions(table: Table) -> dict[str, Action]:
    """Return the action of each rule of a table, by rule name, including the rules that apply to every table."""
    implied: dict[str, Action] = {f"type({column.name})": "quarantine" for column in _parsed(table)}
    implied |= {f"not_null({name})": "quarantine" for name in (*table.key, "_sequence")}
    return implied | {rule_name(rule): rule.action for rule in table.rules}


def rule_name(rule: RowRule | CrossRowRule) -> str:
    """Return the name that identifies a rule in counts and messages, such as `range(quantity)`."""
    columns = ", ".join(rule.columns) if isinstance(rule, Unique | Ascending) else rule.column
    return f"{type(rule).__struct_config__.tag}({columns})"


def typed(rows: DataFrame, column: SourceColumn) -> Column:
    """Convert a column from text to its type; the result is NULL if the text is invalid or the column is missing.

    A text that the type can only hold in part, such as a decimal with more digits or a day with a time, is invalid, and
    so is a date or time whose year is 0 or has not four digits: Spark would make another one of it, or one that most
    programs cannot read.
    """
    if column.name not in rows.columns:
        return F.lit(None).cast(spark_type(column))
    if column.type is LogicalType.DECIMAL:
        return F.expr(canonical.decimal_of(f"`{column.name}`", *canonical.decimal_digits(column)))
    if column.type is LogicalType.DATE:
        is_day = f"`{column.name}` RLIKE '^(?!0000)[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$'"
        return F.expr(f"IF({is_day}, try_cast(`{column.name}` AS DATE), NULL)")
    if column.type is LogicalType.TIMESTAMP:
        return F.expr(f"IF(`{column.name}` RLIKE '^(?!0000).{{4}}-', try_cast(`{column.name}` AS TIMESTAMP), NULL)")
    return F.col(column.name).try_cast(spark_type(column)) if spark_type(column) != "string" else F.col(column.name)


def row_violations(rows: DataFrame, table: Table) -> Column:
    """Return an array column with the names of the one-row rules that each of the given Bronze rows breaks."""
    values = {column.name: typed(rows, column) for column in table.columns}
    is_delete = F.col("_op") == "d"
    key: list[tuple[str, Column]] = []
    others: list[tuple[str, Column]] = []
    for column in _parsed(table):
        if column.name in rows.columns:
            broken = F.col(column.name).isNotNull() & values[column.name].isNull()
            (key if column.name in table.key else others).append((f"type({column.name})", broken))
    required = {**{name: bronze_text(rows, name) for name in table.key}, "_sequence": F.col("_sequence")}
    key += [(f"not_null({name})", value.isNull()) for name, value in required.items()]
    for rule in table.rules:
        if not isinstance(rule, CrossRowRule) and rule_name(rule) not in dict(key):
            others.append((rule_name(rule), _breaks(rule, values)))
    names = [F.when(broken, name) for name, broken in key]
    names += [F.when(broken & ~is_delete, name) for name, broken in others]
    # With `array_compact` Spark would interpret all these conditions instead of generating Java code for them.
    return F.array_remove(F.array(*(F.coalesce(name, F.lit("")) for name in names)), "")


def bronze_text(rows: DataFrame, name: str) -> Column:
    """Return a column of Bronze rows, as text; NULL if the rows do not have the column."""
    return F.col(name) if name in rows.columns else F.lit(None).cast("string")


def rules_with(table: Table, *wanted: Action) -> list[str]:
    """Return the names of the rules of a table that have one of the wanted actions."""
    return [name for name, action in actions(table).items() if action in wanted]


def breaks_any(table: Table, *wanted: Action) -> Column:
    """Return a Boolean column: whether a row breaks a rule that has one of the wanted actions."""
    return F.arrays_overlap(VIOLATIONS, F.array(*(F.lit(name) for name in rules_with(table, *wanted))))


def is_quarantined(table: Table) -> Column:
    """Return a Boolean column: whether a row breaks a rule that puts it into the quarantine instead of Silver.

    A rule with the action `fail` does so too, because the rows that the run goes on with (`stop_if_failed`) have newer
    versions.
    """
    return breaks_any(table, "quarantine", "fail")


def flagged(rows: DataFrame, others: DataFrame, on: Sequence[Column], broken: Column, rule: CrossRowRule) -> DataFrame:
    """Add a rule to the `_violations` of the rows that are not deleted and for which `broken` holds.

    Args:
        others: rows that `broken` looks at; at most one of them matches a row in all conditions of `on`.
    """
    is_broken = F.coalesce(broken, F.lit(False)) & ~F.col("_deleted")
    added = F.when(is_broken, F.array(F.lit(rule_name(rule)))).otherwise(F.array().cast("array<string>"))
    columns = rows.columns
    return rows.join(others, list(on), "left").withColumn(VIOLATIONS, F.concat(VIOLATIONS, added)).select(*columns)


def tally(rows: Rows, table: Table) -> Tally:
    """Count the rows that break each rule, with at most one Spark job."""
    count = rows.count_if_known
    if count is not None and rows.is_known_empty_in(VIOLATIONS):
        return Tally(rows=count, broken={}, examples={})
    rules = actions(table)
    broken = {name: F.array_contains(VIOLATIONS, name) for name in rules}
    key = F.to_json(F.struct(*table.key))
    counts = rows.frame.agg(
        F.count(F.lit(1)).alias("rows"),
        F.struct(*(F.count_if(each).alias(name) for name, each in broken.items())).alias("broken"),
        F.struct(*(F.min(F.when(each, key)).alias(name) for name, each in broken.items())).alias("examples"),
    )
    found = counts.first()
    assert found is not None
    return Tally(
        rows=found["rows"],
        broken={name: count for name, count in found["broken"].asDict().items() if count},
        examples={name: example for name, example in found["examples"].asDict().items() if example is not None},
    )


def stop_if_failed(found: Tally, rows: DataFrame, table: Table, silver: Source | None) -> None:
    """Raise an error if a row that Silver would show breaks a rule whose action is `fail`.

    A row that has a newer version does not stop the run: otherwise no correction in the source could end the failure.

    Args:
        found: the counts of all rows.
        rows: the rows with their violations.
        silver: the Silver table before this run; None if it is rebuilt from the rows.

    Raises:
        BatchError: the message has the rule, the number of rows that break it, and the key of one of them.
    """
    failing = [name for name in rules_with(table, "fail") if name in found.broken]
    if not failing:
        return
    shown = newest(rows.where(~breaks_any(table, "quarantine")), table.key).where(breaks_any(table, "fail"))
    if silver is not None:
        shown = _without_newer(Rows.of(shown).collect_if_small(), table, silver)
    broken = tally(Rows.of(shown), table)
    for name in (name for name in failing if name in broken.broken):
        what = f"{broken.broken[name]:,} of {found.rows:,} rows break {name}, for example key {broken.examples[name]}"
        cure = "correct them in the source, or change the rule's action in the definition, then run again"
        raise BatchError(f"{what}: nothing was written; {cure}", layer="silver", table=table.name)


def _without_newer(rows: Rows, table: Table, silver: Source) -> DataFrame:
    """Return the rows that are newer than the row with the same key in Silver."""
    same = [(name, name) for name in table.key]
    there = silver.with_keys(rows, same, columns=(*table.key, "_sequence", "_row_hash")).frame
    is_same = " AND ".join(f"s.`{name}` = t.`{name}`" for name in table.key)
    return rows.frame.alias("s").join(there.alias("t"), F.expr(f"{is_same} AND NOT ({NEWER})"), "left_anti")


def _breaks(rule: RowRule, values: Mapping[str, Column]) -> Column:
    if isinstance(rule, Ascending):
        first, second = (values[name] for name in rule.columns)
        return F.coalesce(first > second, F.lit(False))
    value = values[rule.column]
    if isinstance(rule, NotNull):
        return value.isNull()
    if isinstance(rule, Pattern):
        return ~F.coalesce(value.cast("string").rlike(rf"\A(?:{rule.pattern})\z"), F.lit(True))
    broken = F.lit(False)
    for name, bound in rule.bounds.items():
        compared = value.cast("date") if isinstance(bound, date) else value
        broken = broken | (compared < F.lit(bound) if name == "min" else compared > F.lit(bound))
    return F.coalesce(broken, F.lit(False))


def _parsed(table: Table) -> list[SourceColumn]:
    """Return the columns that are not text, whose values in Bronze may be invalid for their type."""
    return [column for column in table.columns if spark_type(column) != "string"]
