"""Finds the lake's tables that contain rows of a person, and erases these rows from all stored files.

After an ordinary delete, a row of a Delta table remains in the files of older versions, in the files of the change data
feed, and in data files where it is only marked as deleted. Its values may also remain in the Delta log, as the minimum
or maximum of a file. An erasure removes all of these immediately, because data that can be read in an older version is
not erased. As a consequence, older versions of these tables become unreadable, and a query that is still reading an
older version fails and must be repeated.

1. `erase` deletes the rows in an ordinary commit, so that the change feed reports the deletion to the next layer.
2. `rewrite` rewrites files in which rows are only marked as deleted, then adds a commit that lists no files.
3. `forget` deletes all log entries before that commit, and then every file that older versions name and the newest
   version does not need.
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
from batch.erasure.archive import WEIGHT_MIN, quoted, weight
from batch.erasure.person import Person, literal
from batch.gold import GoldPlan
from batch.gold.refresh import gold_table
from batch.quarantine import quarantine_table
from batch.silver import rules
from batch.spark.session import configured
from config.definition import Definition

HISTORY: Final = "_history"
"""Suffix of a history table's name: `customers_history` has all versions of the rows of `customers`."""

UNNAMED_S: Final = 3600.0
"""Age in seconds at which a file that no version of its table names is known to be left over from a failed commit."""

_FORMAT_CHECK: Final = "spark.databricks.delta.formatCheck.enabled"


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A table of the lake that may contain rows of the person to erase.

    Attributes:
        condition: Spark SQL condition that selects the person's rows.
        schema: names and types of the columns that the condition reads; empty if no key identifies the person's rows.
        plan: plan from which a Gold dimension can be rebuilt; None for all other tables.
    """

    table: LakeTable
    condition: str
    schema: str
    plan: GoldPlan | None = None

    @property
    def name(self) -> str:
        """The layer and name of the table, as in `silver/customers`."""
        return self.table.name

    @property
    def layer(self) -> str:
        """The layer of the table: `bronze`, `silver` or `gold`."""
        return self.name.partition("/")[0]

    @property
    def table_name(self) -> str:
        """The name of the table without its layer."""
        return self.name.partition("/")[2]

    @property
    def is_countable(self) -> bool:
        """Whether the person's rows can be counted, because a key in the table identifies them."""
        return bool(self.schema)

    def rows(self) -> int:
        """Count the person's rows in the newest version of the table."""
        return self.table.read().where(self.condition).count() if self.table.exists() else 0

    def stored_rows(self, spark: SparkSession) -> int:
        """Count the person's rows in all stored files of the table, including those of older versions."""
        is_there = self.is_countable and self.table.exists()
        files = DeltaLog(spark, self.table.path).stored_files() if is_there else []
        if not files:
            return 0
        with configured(spark, {_FORMAT_CHECK: "false"}):  # else Delta rejects reading single files
            return spark.read.schema(self.schema).parquet(*files).where(self.condition).count()


def erase(holding: Holding, context: RunContext) -> int:
    """Delete the person's rows from the newest version of the table, and return the number of deleted rows."""
    return holding.table.remove(holding.condition, run_id=context.run_id)


def rewrite(holding: Holding, context: RunContext) -> None:
    """Rewrite the files that still contain rows marked as deleted, then add a commit that lists no files."""
    table = holding.table
    location = DeltaLog(context.spark, table.path).location
    with table.noting(context.run_id):
        context.spark.sql(f"REORG TABLE delta.`{location}` APPLY (PURGE)")
    table.append(table.read().where("false"), run_id=context.run_id, progress=table.progress())


def forget(holding: Holding, context: RunContext) -> LayerResult:
    """Delete the log entries and the files of all older versions of the table.

    A file that no version names may belong to a commit in progress; it is deleted only when it is `UNNAMED_S` old.
    """
    log = DeltaLog(context.spark, holding.table.path)
    past = log.past_files()
    log.forget_past()
    log.delete(past)
    holding.table.vacuum(keep_s=UNNAMED_S)
    return LayerResult(
        layer=holding.layer,
        table=holding.table_name,
        version=holding.table.version(),
        progress=holding.table.progress(),
        note="older versions removed",
    )


def bronze_holding(person: Person, context: RunContext) -> Holding:
    """Return the Bronze table that contains all versions of the person's row."""
    name = person.table.name
    table = context.table("bronze", name)
    return Holding(table=table, condition=person.condition("STRING"), schema=f"`{person.key}` STRING")


def silver_holdings(person: Person, context: RunContext) -> list[Holding]:
    """Return the Silver table with the person's row or its tombstone, and the table's history table if it exists."""
    kind = rules.spark_type(person.column)
    tables = [context.table("silver", f"{person.table.name}{more}") for more in ("", HISTORY)]
    return [
        Holding(table=table, condition=person.condition(kind), schema=f"`{person.key}` {kind}")
        for table in tables
        if table.exists()
    ]


def quarantine_holding(person: Person, context: RunContext, values: frozenset[str]) -> Holding:
    """Return the quarantine table, with a condition that selects the person's rows and undecodable records.

    Args:
        values: values in the person's columns with personal data; an undecodable record with enough of them
            (`batch.erasure.archive`) belongs to the person.
    """
    place = "key" if person.is_own else "row"  # the entry's key has the columns of the table's key only
    of_row = f"get_json_object(`{place}`, {literal(f'$.{person.key}')}) = {literal(person.id)}"
    text = "get_json_object(`row`, '$.value')"
    found = [f"IF(contains({text}, {literal(quoted(value))}), {weight(value)}, 0)" for value in sorted(values)]
    is_key = f"coalesce(get_json_object(`key`, '$.key') = {literal(person.id)}, false)" if person.is_own else "false"
    of_record = f"`rule` = 'unreadable' AND ({is_key} OR {' + '.join(['0', *found])} >= {WEIGHT_MIN})"
    condition = f"`table` = {literal(person.table.name)} AND coalesce({of_row} OR ({of_record}), false)"
    schema = "`table` STRING, `key` STRING, `rule` STRING, `row` STRING"
    return Holding(table=quarantine_table(context), condition=condition, schema=schema)


def gold_holdings(person: Person, context: RunContext) -> list[Holding]:
    """Return the dimensions that are built from the person's row, and their history tables.

    Inferred members do not count as rows of the person: they consist only of a key that other tables refer to.
    """
    found = [
        each for plan, key in _dimensions(person, context.definition) for each in _of_plan(plan, key, person, context)
    ]
    return list({each.name: each for each in found}.values())


def _dimensions(person: Person, definition: Definition) -> Iterator[tuple[GoldPlan, str]]:
    for plan in gold.plans(definition):
        mapped = [each.columns for each in plan.depends_on if each.table in _own_tables(person)]
        names = [theirs for columns in mapped for own, theirs in columns if own == person.key]
        # A dimension of the persons themselves is left to the erasure of their own table, which comes last.
        is_of_persons = not person.is_own and person.persons in {each.table for each in plan.depends_on}
        if plan.kind == "dimension" and names and not is_of_persons:
            yield plan, names[0]


def _own_tables(person: Person) -> tuple[str, str]:
    """Return the names of the person's Silver table and of its history table."""
    return person.table.name, f"{person.table.name}{HISTORY}"


def _of_plan(plan: GoldPlan, key: str, person: Person, context: RunContext) -> Iterator[Holding]:
    """Yield the dimension and its history table, if these tables exist."""
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
    """Return the Gold tables that read the person's table but have no key that identifies a person's rows."""
    dimensions = {plan.name for plan, _ in _dimensions(person, context.definition)}
    tables = [
        gold_table(plan, context)
        for plan in gold.plans(context.definition)
        if plan.name not in dimensions and {each.table for each in plan.depends_on} & {*_own_tables(person)}
    ]
    return [Holding(table=table, condition="false", schema="") for table in tables if table.exists()]
