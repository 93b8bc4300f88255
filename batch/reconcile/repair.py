"""Repairs the lake: reads differing rows from the source into Bronze, and brings Silver and Gold up to date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pyspark.sql import SparkSession

from batch import bronze
from batch.console.output import Say
from batch.context import LayerResult, RunContext
from batch.errors import BatchError
from batch.pipeline.job_record import JobRecord
from batch.pipeline.plan import steps
from batch.pipeline.report import print_outcome
from batch.pipeline.runner import Runner, Step
from batch.pipeline.workspace import Workspace
from batch.reconcile.buckets import key_values
from batch.reconcile.verdict import Finding
from batch.spark.session import Sessions
from config.definition import Table
from config.engines import engine_of

SOURCE_SHARE_MIN: Final = 0.8
"""Minimum ratio of source rows to lake rows; below it, a mistake such as a wrong database is likely."""

REPAIR_ROWS_MAX: Final = 100_000
"""Maximum number of differing rows of a table to repair; above it, a full run is cheaper."""


def repair(
    workspace: Workspace,
    spark: SparkSession,
    findings: Sequence[Finding],
    record: JobRecord,
    *,
    is_forced: bool,
    say: Say,
) -> None:
    """Append the source's current version of each differing row to Bronze, then update Silver and Gold.

    Args:
        is_forced: repair even if a source table has over a fifth fewer rows than its Silver table.

    Raises:
        BatchError: a source table has over a fifth fewer rows than its Silver table, and the repair is not forced;
            too many rows differ; or a table could not be repaired.
    """
    keys = {table.name: differing_keys(table.name, findings) for table in workspace.definition.tables}
    if not is_forced:
        check_source_not_shrunk(findings)
    for name, differing in keys.items():
        if len(differing) > REPAIR_ROWS_MAX:
            text = f"{len(differing):,} rows differ, too many for a repair: run `millrace lake run --full` instead"
            raise BatchError(text, layer="bronze", table=name)

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(spark, run_id, started_at, database=engine_of(workspace.definition).login())
        landing = [
            _landing(table, keys[table.name], context) for table in workspace.definition.tables if keys[table.name]
        ]
        below = steps(context, layer=None, table=None, sessions=Sessions(spark))
        return landing + [step for step in below if step.layer != "bronze"]

    say("→ repair")
    runner = Runner(dataset=workspace.definition.name, manifests=workspace.manifests, record=record, plan=plan, say=say)
    outcome = runner.run()
    print_outcome(outcome.manifest, say, is_new=outcome.is_new)
    if outcome.manifest.errors:
        raise BatchError("the repair failed: " + "; ".join(outcome.manifest.errors))


def differing_keys(table: str, findings: Sequence[Finding]) -> list[tuple[str | None, ...]]:
    """Return the keys of the table's rows that have an unexplained difference in Bronze or Silver."""
    names = (f"bronze/{table}", f"silver/{table}")
    found = {key for finding in findings if finding.name in names for key in finding.different}
    return [key_values(key) for key in sorted(found)]


def check_source_not_shrunk(findings: Sequence[Finding]) -> None:
    """Check that the source still has most of the lake's rows, before a repair deletes rows from the lake.

    Raises:
        BatchError: a source table has over a fifth fewer rows than its Silver table.
    """
    for finding in findings:
        if finding.name.startswith("silver/") and finding.source_rows < SOURCE_SHARE_MIN * finding.lake_rows:
            layer, _, table = finding.name.partition("/")
            text = (
                f"the source has {finding.source_rows:,} rows, but the lake has {finding.lake_rows:,}: "
                "check that this is the right database, then repair with --force"
            )
            raise BatchError(text, layer=layer, table=table)


def _landing(table: Table, keys: Sequence[tuple[str | None, ...]], context: RunContext) -> Step:
    def work() -> LayerResult:
        return bronze.land_rows(table, keys, context)

    return Step(layer="bronze", table=table.name, work=work)
