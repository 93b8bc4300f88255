"""`python -m batch backfill`: read rows of one table from the source database again, selected by time or by key.

Rows that differ from their newest version in Bronze are landed, with the source's log position at the time of reading:
a later change still wins, and repeating the backfill lands nothing. Then Silver and Gold are brought up to date. A row
that is selected by key but missing in the source is landed as deleted. A time window cannot detect deletions, because a
row may also have moved out of the window; `python -m batch reconcile --repair` finds them.

A backfill is a run like any other, with the lease, a manifest, the job record and the layers' logs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pyspark.sql import SparkSession

from batch import bronze
from batch.bronze.windows import has_time_cursor
from batch.console.arguments import moment
from batch.console.keys import parsed_keys
from batch.context import LayerResult, RunContext
from batch.errors import BatchError
from batch.pipeline.launch import run_once
from batch.pipeline.plan import check_choice, steps
from batch.pipeline.runner import Plan, Step
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.spark.session import Sessions
from config.definition import Table
from config.settings import DatabaseSettings


def add_commands(subparsers: Any) -> None:
    """Add `backfill`."""
    text = "read rows from the source database again, by time or by key, and bring all layers up to date"
    parser = subparsers.add_parser("backfill", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("--table", metavar="TABLE", required=True, help="the source table whose rows are read again")
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="select rows whose cursor column is at this time (UTC) or later"
    )
    parser.add_argument(
        "--until", type=moment, metavar="TIME", help="select rows whose cursor column is before this time (UTC)"
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="ID",
        help="select the row with this key; repeat the option for more rows (composite: order_id=…,product_id=…)",
    )
    parser.add_argument("--wait", action="store_true", help="wait while another run of the dataset is in progress")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Backfill the chosen rows."""
    with open_workspace(arguments) as workspace:
        check_choice(workspace.definition, layer="bronze", table=arguments.table)
        table = workspace.definition.table(arguments.table)
        landing = chosen(table, arguments)
        database = DatabaseSettings.read()
        return run_once(
            workspace, lambda spark: planner(workspace, spark, table, landing, database), wait=arguments.wait
        )


def chosen(table: Table, arguments: argparse.Namespace) -> Callable[[RunContext], LayerResult]:
    """Return the work that lands the selected rows in Bronze.

    Raises:
        BatchError: the arguments select neither a window nor keys, or both; the window is empty; the table has no time
            cursor; or a key is invalid.
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
        text = "the definition gives this table no time column as its cursor: select rows with --key"
        raise BatchError(text, table=table.name)
    return lambda context: bronze.land_window(table, since, until, context)


def planner(
    workspace: Workspace,
    spark: SparkSession,
    table: Table,
    landing: Callable[[RunContext], LayerResult],
    database: DatabaseSettings,
) -> Plan:
    """Return the plan: land the rows in Bronze, then update Silver and Gold."""

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(spark, run_id, started_at, database=database)
        land = Step(layer="bronze", table=table.name, work=lambda: landing(context))
        updates = steps(context, layer=None, table=None, sessions=Sessions(spark))
        return [land, *(step for step in updates if step.layer != "bronze")]

    return plan
