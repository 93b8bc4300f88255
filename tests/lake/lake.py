"""A lake in a folder, without servers: change histories go in as Bronze rows, Silver and Gold come out."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import IntegerType, StringType, StructField, StructType, TimestampType

from batch import gold
from batch.context import LayerResult, RunContext
from batch.delta.rows import Rows
from batch.delta.table import CHANGE_FEED, LakeTable
from batch.gold.refresh import gold_table
from batch.pipeline.plan import steps
from batch.pipeline.runner import STEPS_AT_ONCE
from batch.pipeline.scheduler import run_parallel
from batch.silver import refine as silver
from batch.spark.session import Sessions
from batch.storage.paths import Lake
from config.definition import Definition, Table
from config.settings import LakeSettings
from tests.support.lake.delta_rows import delta_rows, delta_rows_if_any

STARTED = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A change of a row: what it is after it, or before a delete; `at` is its place in the source's log."""

    table: str
    at: int
    row: Values
    op: str = "u"

    @property
    def sequence(self) -> str:
        """Sorts as `at` does."""
        return f"0000000000.{self.at:019d}"


@dataclass
class LocalLake:
    """One dataset's lake in a folder."""

    spark: SparkSession
    folder: Path
    definition: Definition
    _runs: Iterable[int] = field(default_factory=itertools.count)

    def context(self, *, full: bool = False) -> RunContext:
        """A run."""
        root = f"file://{self.folder}"
        lake = Lake(bronze=f"{root}/bronze", silver=f"{root}/silver", gold=f"{root}/gold")
        run_id = f"run-{next(iter(self._runs)):04d}"
        return RunContext(
            spark=self.spark,
            lake=lake,
            definition=self.definition,
            run_id=run_id,
            started_at=STARTED,
            settings=LakeSettings.read({}),
            full=full,
        )

    def land(self, changes: Iterable[Change], *, every: bool = False) -> None:
        """Append changes to Bronze; `every` makes the tables without any too, empty."""
        changes = list(changes)
        context = self.context()
        for table in self.definition.tables:
            own = [change for change in changes if change.table == table.name]
            bronze = LakeTable(self.spark, context.lake.table("bronze", table.name), f"bronze/{table.name}")
            bronze.progress()
            if own or (every and not bronze.exists()):
                rows = bronze_rows(self.spark, table, own)
                bronze.append(rows, run_id=context.run_id, progress={"landed": len(own)}, properties=CHANGE_FEED)

    def refine(self, *tables: str, full: bool = False) -> dict[str, LayerResult]:
        """Run Silver, for all tables unless some are named."""
        context = self.context(full=full)
        chosen = [table for table in silver.in_order(self.definition.tables) if not tables or table.name in tables]
        return {table.name: silver.refine(table, context) for table in chosen}

    def build(self, *names: str, full: bool = False) -> dict[str, LayerResult]:
        """Run Gold, for all tables unless some are named."""
        context = self.context(full=full)
        chosen = [plan for plan in gold.plans(self.definition) if not names or plan.name in names]
        return {plan.name: gold.build(plan, context) for plan in chosen}

    def run(
        self, changes: Iterable[Change] = (), *, only: Iterable[str] = (), full: bool = False
    ) -> dict[str, LayerResult]:
        """Land changes, then run Silver and Gold; or `only` these Gold tables, and what they show."""
        self.land(changes, every=True)
        plans = [plan for plan in gold.plans(self.definition) if plan.name in {*only}]
        tables = {name for plan in plans for name in plan.tables}
        shown = {each.name for each in self.definition.tables if {each.name, each.history_name} & tables}
        chosen = {f"silver/{name}" for name in shown} | {f"gold/{plan.name}" for plan in plans}
        found = steps(self.context(full=full), layer=None, table=None, sessions=Sessions(self.spark))
        work = [step for step in found if step.layer != "bronze" and (not chosen or step.name in chosen)]
        return {step.table: result for step, result in run_parallel(work, lambda step: step.work(), STEPS_AT_ONCE)}

    def silver(self, name: str) -> DataFrame:
        """A table of Silver."""
        return self.context().table("silver", name).read()

    def live(self, name: str, *columns: str) -> set[tuple[Any, ...]]:
        """Live rows of a Silver table."""
        chosen = columns or self.definition.table(name).column_names
        path = self.context().lake.table("silver", name)
        return _each_once(delta_rows(path, chosen, where="NOT _deleted"))

    def stored(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        """All rows of a Silver table, tombstones too, in order."""
        rows = delta_rows(self.context().lake.table("silver", name), columns)
        return sorted(tuple(row.values()) for row in rows)

    def copied(self, folder: Path) -> LocalLake:
        """The same lake in a new folder, for one test to go on with."""
        shutil.copytree(self.folder, folder)
        return LocalLake(self.spark, folder, self.definition)

    def gold(self, name: str, *columns: str) -> set[tuple[Any, ...]]:
        """Rows of a Gold table, each once."""
        [plan] = [plan for plan in gold.plans(self.definition) if plan.name == name]
        return _each_once(delta_rows(gold_table(plan, self.context()).path, columns))

    def quarantined(self) -> list[dict[str, Any]]:
        """Rows of the quarantine, in the order of sequence and rule."""
        rows = delta_rows_if_any(self.context().lake.quarantine())
        return sorted(rows, key=lambda row: (row["_sequence"] or "", row["rule"]))


def _each_once(rows: Iterable[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    values = [tuple(row.values()) for row in rows]
    assert len(values) == len(set(values))
    return set(values)


_META: Final = StructType(
    [
        *(StructField(name, StringType()) for name in ("_op", "_sequence")),
        *(StructField(name, TimestampType()) for name in ("_committed_at", "_landed_at")),
        *(StructField(name, StringType()) for name in ("_run_id", "_row_hash", "_origin")),
        *(StructField(name, IntegerType()) for name in ("year", "month", "day")),
    ]
)


def bronze_rows(spark: SparkSession, table: Table, changes: Iterable[Change]) -> Rows:
    """Changes as Bronze has them: every column as text."""
    columns = table.column_names
    schema = StructType([*(StructField(name, StringType()) for name in columns), *_META])
    rows = [
        (
            *(_text(change.row.get(name)) for name in columns),
            change.op,
            change.sequence if change.at >= 0 else None,
            STARTED + timedelta(minutes=change.at),
            STARTED,
            "run",
            hashlib.md5(json.dumps(change.row, sort_keys=True, default=str).encode()).hexdigest(),  # noqa: S324
            f"t/0/{change.at}",
            2026,
            11,
            21,
        )
        for change in changes
    ]
    named = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return Rows.held(spark, schema, pa.Table.from_pylist(named, schema=to_arrow_schema(schema, timezone="UTC")))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
