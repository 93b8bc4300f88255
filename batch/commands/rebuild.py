"""`millrace lake rebuild`: rebuild tables from the archive of raw changes, in all layers.

A table with the feed `changes` is rebuilt from the archive alone: Bronze from all objects in the archive, Silver and
its history from Bronze, then the Gold tables that depend on the table. A rebuild also applies a change of a table's
feed in the definition: if the new feed is `jdbc`, the table starts from the current rows of the source. Readers see the
old tables until the run's manifest is written.

Rows that `reconcile --repair` or `backfill` has read from the source are not in the archive, so the rebuilt Bronze
table lacks them. The run reports how many rows are lost in this way; `reconcile` finds those that the source still has.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from pyspark.sql import SparkSession

from batch import gold
from batch.gold import GoldPlan
from batch.pipeline.launch import run_once
from batch.pipeline.plan import check_choice, steps
from batch.pipeline.runner import Plan, Step
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.spark.session import Sessions
from config.definition import Definition
from config.engines import engine_of


def add_commands(subparsers: Any) -> None:
    """Register the `rebuild` command and its options."""
    text = "rebuild all tables, or one and the Gold tables derived from it, from the archive; exit code 1 on failure"
    parser = subparsers.add_parser("rebuild", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument(
        "--table", metavar="TABLE", help="rebuild only this source table and the Gold tables derived from it"
    )
    parser.add_argument("--wait", action="store_true", help="if another run of the dataset is in progress, wait for it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Rebuild the tables that the arguments select, and return the exit code."""
    with open_workspace(arguments) as workspace:
        check_choice(workspace.definition, layer="bronze", table=arguments.table)
        return run_once(
            workspace, lambda spark: planner(workspace, spark, arguments.table), wait=arguments.wait, optimises=True
        )


def planner(workspace: Workspace, spark: SparkSession, only: str | None) -> Plan:
    """Plan a full run over the source table `only` (None: all) and the Gold tables derived from it."""
    uses_jdbc = any(table.feed == "jdbc" for table in workspace.definition.tables if only in (None, table.name))
    database = engine_of(workspace.definition).login() if uses_jdbc else None
    chosen = concerned(workspace.definition, only)

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(spark, run_id, started_at, database=database, full=True, is_rebuild=True)
        found = steps(context, layer=None, table=None, sessions=Sessions(spark))
        return [step for step in found if step.name in chosen]

    return plan


def concerned(definition: Definition, only: str | None) -> set[str]:
    """Return the names of the steps that rebuild the table `only` (None: all) and the Gold tables derived from it."""
    tables = [table for table in definition.tables if only in (None, table.name)]
    names = {name for table in tables for name in (table.name, table.history_name)}
    plans = gold.plans(definition)
    own = {plan.name for plan in plans if names & {*plan.tables}}
    found = [plan.name for plan in plans if plan.name in own or _names_versions(plan, own)]
    steps_of_tables = {f"{layer}/{table.name}" for layer in ("bronze", "silver") for table in tables}
    return steps_of_tables | {f"gold/{name}" for name in found}


def _names_versions(plan: GoldPlan, dimensions: set[str]) -> bool:
    return any(link.dimension in dimensions for link in plan.links)
