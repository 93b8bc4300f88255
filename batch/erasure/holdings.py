"""Finds the lake's tables that hold rows of a person, and erases these rows from all stored files.

After an ordinary delete, a row of a Delta table remains in the files of older versions, in the files of the change data
feed and in files that only mark it as deleted; its values may also remain in the log as the minimum or maximum of a
file. An erasure always removes all of these at once, because data that an older version still shows is not erased. As a
consequence, older versions of these tables become unreadable, and a query that is reading one fails and must be
repeated.

1. `erase` deletes the rows by an ordinary commit, so that the change feed reports them to the next layer.
2. `rewrite` rewrites files that mark rows as deleted, then adds a commit without files, which step 3 builds on.
3. `forget` deletes the log before that commit, then every file that the newest version does not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pyspark.sql import SparkSession

from batch import gold
from batch.context import LayerResult, RunContext
from batch.delta.log import DeltaLog
from batch.delta.table import LakeTable
from batch.erasure.archive import quoted
from batch.erasure.person import Person, literal
from batch.gold import GoldPlan
from batch.gold.refresh import gold_table
from batch.quarantine import quarantine_table
from batch.silver import rules
from batch.spark.session import configured
from config.definition import Definition

HISTORY: Final = "_history"
"""Suffix of the name of a history table, which has all versions of the rows of its table."""

_FORMAT_CHECK: Final = "spark.databricks.delta.formatCheck.enabled"


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A table that may hold rows of a person.

    Attributes:
        condition: selects the person's rows, in Spark SQL.
        schema: the columns that the condition reads; empty if no key identifies the person's rows.
        plan: the plan of a Gold table; None for other tables.
    """

    table: LakeTable
    condition: str
    schema: str
    plan: GoldPlan | None = None

    @property
    def name(self) -> str:
        """Layer and table, as in `silver/customers`."""
        return self.table.name

    @property
    def layer(self) -> str:
        """The layer of the table."""
        return self.name.partition("/")[0]

    @property
    def table_name(self) -> str:
        """The name of the table without its layer."""
        return self.name.partition("/")[2]

    @property
    def is_countable(self) -> bool:
        """Whether a key identifies the person's rows."""
        return bool(self.schema)

    def rows(self) -> int:
        """Count the person's rows in the newest version."""
        return self.table.read().where(self.condition).count() if self.table.exists() else 0

    def stored_rows(self, spark: SparkSession) -> int:
        """Count the person's rows in all stored files, of any version."""
        is_there = self.is_countable and self.table.exists()
        files = DeltaLog(spark, self.table.path).stored_files() if is_there else []
        if not files:
            return 0
        with configured(spark, {_FORMAT_CHECK: "false"}):  # Delta would not read single files of a table
            return spark.read.schema(self.schema).parquet(*files).where(self.condition).count()


def erase(holding: Holding, context: RunContext) -> int:
    """Delete the person's rows from the newest version; return their number."""
    return holding.table.remove(holding.condition, run_id=context.run_id)


def rewrite(holding: Holding, context: RunContext) -> None:
    """Rewrite files that still contain deleted rows, then add a commit that lists no file."""
    table = holding.table
    location = DeltaLog(context.spark, table.path).location
    with table.noting(context.run_id):
        context.spark.sql(f"REORG TABLE delta.`{location}` APPLY (PURGE)")
    table.append(table.read().where("false"), run_id=context.run_id, progress=table.progress())


def forget(holding: Holding, context: RunContext) -> LayerResult:
    """Delete the files of older versions and their log entries."""
    DeltaLog(context.spark, holding.table.path).forget_past()
    holding.table.vacuum(keep_s=0.0)
    return LayerResult(
        layer=holding.layer,
        table=holding.table_name,
        version=holding.table.version(),
        progress=holding.table.progress(),
        note="older versions removed",
    )


def bronze_holding(person: Person, context: RunContext) -> Holding:
    """Return the Bronze table, which has all versions of the person's row."""
    name = person.table.name
    table = context.table("bronze", name)
    return Holding(table=table, condition=person.condition("STRING"), schema=f"`{person.key}` STRING")


def silver_holdings(person: Person, context: RunContext) -> list[Holding]:
    """Return the Silver table, which has the row or its tombstone, and its history table if there is one."""
    kind = rules.spark_type(person.column)
    tables = [context.table("silver", f"{person.table.name}{more}") for more in ("", HISTORY)]
    return [
        Holding(table=table, condition=person.condition(kind), schema=f"`{person.key}` {kind}")
        for table in tables
        if table.exists()
    ]


def quarantine_holding(person: Person, context: RunContext, values: frozenset[str]) -> Holding:
    """Return what the quarantine holds of the person: versions of their row, and undecodable records.

    Args:
        values: known values of the person's personal columns; a record that contains one is the person's.
    """
    of_row = f"get_json_object(`key`, {literal(f'$.{person.key}')}) = {literal(person.id)}"
    texts = [f"get_json_object(`key`, '$.key') = {literal(person.id)}"]
    texts += [f"contains(get_json_object(`row`, '$.value'), {literal(quoted(value))})" for value in sorted(values)]
    of_record = f"`rule` = 'unreadable' AND ({' OR '.join(texts)})"
    condition = f"`table` = {literal(person.table.name)} AND coalesce({of_row} OR ({of_record}), false)"
    schema = "`table` STRING, `key` STRING, `rule` STRING, `row` STRING"
    return Holding(table=quarantine_table(context), condition=condition, schema=schema)


def gold_holdings(person: Person, context: RunContext) -> list[Holding]:
    """Return the dimensions that are built from the person's row.

    Their inferred members are not the person's rows: such a member has only a key, which other tables refer to.
    """
    found = [
        each for plan, key in _dimensions(person, context.definition) for each in _of_plan(plan, key, person, context)
    ]
    return list({each.name: each for each in found}.values())


def _dimensions(person: Person, definition: Definition) -> Iterator[tuple[GoldPlan, str]]:
    for plan in gold.plans(definition):
        mapped = [each.columns for each in plan.depends_on if each.table in _own_tables(person)]
        names = [theirs for columns in mapped for own, theirs in columns if own == person.key]
        if plan.kind == "dimension" and names:
            yield plan, names[0]


def _own_tables(person: Person) -> tuple[str, str]:
    """Return the names of the Silver tables with rows of persons."""
    return person.table.name, f"{person.table.name}{HISTORY}"


def _of_plan(plan: GoldPlan, key: str, person: Person, context: RunContext) -> Iterator[Holding]:
    """Yield the dimension, and its history table if there is one."""
    for name in (plan.name, f"{plan.name}{HISTORY}"):
        table = context.dimension(name)
        if not table.exists():
            continue
        types = dict(table.read().dtypes)
        condition, schema = person.condition(types[key], key), f"`{key}` {types[key]}"
        if "is_inferred" in types:
            condition, schema = f"{condition} AND is_inferred IS NOT TRUE", f"{schema}, is_inferred BOOLEAN"
        yield Holding(table=table, condition=condition, schema=schema, plan=plan if name == plan.name else None)


def others_made_of(person: Person, context: RunContext) -> list[Holding]:
    """Return the other Gold tables that read the person's table; no key in them identifies a person's rows."""
    dimensions = {plan.name for plan, _ in _dimensions(person, context.definition)}
    tables = [
        gold_table(plan, context)
        for plan in gold.plans(context.definition)
        if plan.name not in dimensions and {each.table for each in plan.depends_on} & {*_own_tables(person)}
    ]
    return [Holding(table=table, condition="false", schema="") for table in tables if table.exists()]
