"""`millrace lake replay`: check quarantined rows again after a rule was changed or a missing reference has arrived.

The quarantine stores each row as Bronze does, including the `_sequence` that orders the versions of a row. A replay can
therefore process it like a new row of Bronze: convert its values to their types, check the rules, and merge the newest
version of each key into Silver, unless Silver already has a newer one. Rows that pass are then deleted from the
quarantine; if a replay is killed before that, run it again. Records that could not be decoded stay in the quarantine,
because Bronze has no row for them.
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
    """Register the `replay` command and its options."""
    text = "check quarantined rows again, move valid ones to Silver, update Gold; exit code 1 if a table failed"
    parser = subparsers.add_parser("replay", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("--table", metavar="TABLE", help="check only quarantined rows of this source table")
    parser.add_argument("--wait", action="store_true", help="if another run of the dataset is in progress, wait for it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check the quarantined rows of the selected tables again, and return the exit code."""
    with open_workspace(arguments) as workspace:
        check_choice(workspace.definition, layer="silver", table=arguments.table)
        return run_once(workspace, lambda spark: planner(workspace, spark, arguments.table), wait=arguments.wait)


def planner(workspace: Workspace, spark: SparkSession, only: str | None) -> Plan:
    """Plan the replay of each table, referenced tables first, and then the update of Gold."""

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(spark, run_id, started_at)
        tables = [table for table in refine.in_order(workspace.definition.tables) if only in (None, table.name)]
        gold = steps(context, layer="gold", table=None, sessions=Sessions(spark))
        return [_step(table, context) for table in tables] + gold

    return plan


def _step(table: Table, context: RunContext) -> Step:
    return Step(layer="silver", table=table.name, work=lambda: replayed(table, context))
