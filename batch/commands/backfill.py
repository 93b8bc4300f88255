"""`millrace lake backfill`: read rows of one table from the source database again, selected by time or by key.

Rows that differ from their newest version in Bronze are appended to Bronze with the source's log position at the time
of reading, so any later change still takes precedence, and repeating the backfill appends nothing. Silver and Gold are
then brought up to date. A row that is selected by key but missing in the source is recorded as deleted. A time window
cannot detect deletions, because a row may also have moved out of the window; `millrace lake reconcile --repair`
detects them.

Like every run, a backfill takes the dataset's lease and writes a manifest, a job record and the layers' logs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pyspark.sql import SparkSession

from batch import bronze
from batch.bronze.windows import has_time_cursor
from batch.console.arguments import add_window_options
from batch.console.keys import parsed_keys
from batch.context import LayerResult, RunContext
from batch.errors import BatchError
from batch.pipeline.launch import run_once
from batch.pipeline.plan import check_choice, steps
from batch.pipeline.runner import Plan, Step
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.spark.session import Sessions
from config.definition import Table
from config.engines import engine_of
from config.engines.base import SourceSettings


def add_commands(subparsers: Any) -> None:
    """Register the `backfill` command and its options."""
    text = "read rows from the source database again, selected by time or key, and bring all layers up to date"
    parser = subparsers.add_parser("backfill", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("--table", metavar="TABLE", required=True, help="source table whose rows are read again")
    add_window_options(
        parser,
        since="select rows whose cursor column is at this time or later",
        until="select rows whose cursor column is before this time",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="ID",
        help="select the row with this key; repeat the option for more rows (composite: order_id=…,product_id=…)",
    )
    parser.add_argument("--wait", action="store_true", help="if another run of the dataset is in progress, wait for it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Backfill the rows that the arguments select, and return the exit code."""
    with open_workspace(arguments) as workspace:
        check_choice(workspace.definition, layer="bronze", table=arguments.table)
        table = workspace.definition.table(arguments.table)
        landing = chosen(table, arguments)
        database = engine_of(workspace.definition).login()
        return run_once(
            workspace, lambda spark: planner(workspace, spark, table, landing, database), wait=arguments.wait
        )


def chosen(table: Table, arguments: argparse.Namespace) -> Callable[[RunContext], LayerResult]:
    """Return the function that appends the selected source rows to Bronze.

    Raises:
        BatchError: the arguments give both a time window and keys, or neither; the window is empty; the table's cursor
            is not a time column; or a key is invalid.
    """
    since, until = arguments.since, arguments.until
    has_window = since is not None or until is not None
    if has_window == bool(arguments.key):
        raise BatchError("select rows either by time (--since, --until or both) or by --key")
    if arguments.key:
        keys = parsed_keys(table, arguments.key)
        return lambda context: bronze.land_rows(table, keys, context, only_new=True)
    if since is not None and until is not None and since >= until:
        raise BatchError("--since must be before --until")
    if not has_time_cursor(table):
        text = "in the definition, the cursor of this table is not a time column: select rows with --key"
        raise BatchError(text, table=table.name)
    return lambda context: bronze.land_window(table, since, until, context)


def planner(
    workspace: Workspace,
    spark: SparkSession,
    table: Table,
    landing: Callable[[RunContext], LayerResult],
    database: SourceSettings,
) -> Plan:
    """Plan a run that appends the selected source rows to Bronze and then updates Silver and Gold."""

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(spark, run_id, started_at, database=database)
        land = Step(layer="bronze", table=table.name, work=lambda: landing(context))
        updates = steps(context, layer=None, table=None, sessions=Sessions(spark))
        return [land, *(step for step in updates if step.layer != "bronze")]

    return plan
