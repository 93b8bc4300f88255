"""`python -m batch replay`: check the rows in the quarantine again, after a rule changed or missing rows arrived.

The quarantine keeps each row as Bronze has it, with its sequence, which orders the versions of a row. So a replay
processes it like a new row of Bronze: converts its values to their types, checks it, and merges the newest version of
each key into Silver, where a newer version always wins. Rows that pass then leave the quarantine; a replay that was
killed before that can simply be repeated. Records that could not be decoded stay, because Bronze has no row for them.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from pyspark.sql import SparkSession

from batch.context import RunContext
from batch.pipeline.launch import run_once
from batch.pipeline.plan import check_choice, steps
from batch.pipeline.runner import Plan, Step
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.silver import refine
from batch.silver.replay import replayed
from batch.spark.session import Sessions
from config.definition import Table


def add_commands(subparsers: Any) -> None:
    """Add `replay`."""
    text = "check the rows in the quarantine again, then bring Gold up to date; exit code 1 if a table failed"
    parser = subparsers.add_parser("replay", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("--table", metavar="TABLE", help="check only the rows of this source table")
    parser.add_argument("--wait", action="store_true", help="wait while another run of the dataset is in progress")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay the chosen tables."""
    with open_workspace(arguments) as workspace:
        check_choice(workspace.definition, layer="silver", table=arguments.table)
        return run_once(workspace, lambda spark: planner(workspace, spark, arguments.table), wait=arguments.wait)


def planner(workspace: Workspace, spark: SparkSession, only: str | None) -> Plan:
    """Return the plan: replay each table, parents first, then update Gold."""

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(spark, run_id, started_at)
        tables = [table for table in refine.in_order(workspace.definition.tables) if only in (None, table.name)]
        gold = steps(context, layer="gold", table=None, sessions=Sessions(spark))
        return [_step(table, context) for table in tables] + gold

    return plan


def _step(table: Table, context: RunContext) -> Step:
    return Step(layer="silver", table=table.name, work=lambda: replayed(table, context))
