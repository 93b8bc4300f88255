"""`millrace lake run`: bring all layers of the lake up to date with the source."""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from typing import Any, Final

from pyspark.sql import SparkSession

from batch.bronze.windows import has_time_cursor
from batch.console.arguments import add_window_options
from batch.console.output import print_out
from batch.errors import BatchError
from batch.pipeline.exposition import LakeCollector
from batch.pipeline.launch import prepared_runner, run_once
from batch.pipeline.lease import Lease
from batch.pipeline.manifest import Manifest, TableRun
from batch.pipeline.plan import LAYERS, check_choice, steps
from batch.pipeline.report import print_line
from batch.pipeline.runner import Outcome, Plan, Runner, Step
from batch.pipeline.service import serve, stopped_by_signals
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.spark.session import Sessions
from config import parsing
from config.command_line import add_metrics_option, argument
from config.definition import Definition
from config.engines import engine_of
from config.settings import BatchSettings
from streams.adapters.exposition import exposed

_FROM_SETTING: Final = object()


def add_commands(subparsers: Any) -> None:
    """Register the `run` command and its options."""
    text = "bring Bronze, Silver and Gold up to date; exit code 1 if a table failed"
    parser = subparsers.add_parser("run", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("--layer", metavar="LAYER", help=f"process only this layer: {', '.join(LAYERS)}")
    parser.add_argument("--table", metavar="TABLE", help="process only this table (a source table or a Gold table)")
    parser.add_argument("--full", action="store_true", help="process everything again, not only new changes")
    add_window_options(
        parser,
        since="for tables read by JDBC: read rows from this time onwards",
        until="for tables read by JDBC: read rows before this time",
    )
    parser.add_argument(
        "--every",
        type=argument(parsing.interval),
        nargs="?",
        const=_FROM_SETTING,
        metavar="10s",
        help="repeat the run at this interval until SIGTERM (without a value: every BATCH_INTERVAL_SECONDS)",
    )
    add_metrics_option(parser, condition="with --every: ")
    parser.add_argument("--wait", action="store_true", help="if another run of the dataset is in progress, wait for it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run once, or repeatedly with `--every` until SIGTERM or SIGINT, and return the exit code."""
    _check_contradictions(arguments)
    with open_workspace(arguments) as workspace:
        check_choice(workspace.definition, layer=arguments.layer, table=arguments.table)
        _check_window(workspace.definition, arguments)

        full = [True] if arguments.full else []

        def plan_of(spark: SparkSession) -> Plan:
            return planner(workspace, spark, arguments, full)

        def up_to_date_check(previous: Manifest) -> list[TableRun] | None:
            if full or arguments.layer or arguments.table or arguments.since or arguments.until:
                return None
            return workspace.find_up_to_date(previous)

        if arguments.every is None:
            return run_once(
                workspace, plan_of, wait=arguments.wait, up_to_date_check=up_to_date_check, optimises=arguments.full
            )
        service = prepared_runner(workspace, plan_of, up_to_date_check=up_to_date_check, is_quiet=True, optimises=True)
        with service as (runner, lease, start_spark):
            start_spark()  # in advance, so that the first cycle does not wait for Spark
            return _serve(runner, lease, arguments)


def planner(workspace: Workspace, spark: SparkSession, arguments: argparse.Namespace, full: list[bool]) -> Plan:
    """Plan the runs of the command; if `full` is not empty, the first run is a full one and clears the list."""
    uses_jdbc = any(table.feed == "jdbc" for table in workspace.definition.tables)
    database = engine_of(workspace.definition).login() if uses_jdbc else None
    sessions = Sessions(spark)

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(
            spark,
            run_id,
            started_at,
            database=database,
            full=bool(full),
            since=arguments.since,
            until=arguments.until,
        )
        full.clear()
        return steps(context, layer=arguments.layer, table=arguments.table, sessions=sessions)

    return plan


def _serve(runner: Runner, lease: Lease, arguments: argparse.Namespace) -> int:
    stop = stopped_by_signals()
    every_s = float(BatchSettings.read().interval_s) if arguments.every is _FROM_SETTING else float(arguments.every)
    collector = LakeCollector(runner.dataset, every_s=every_s, compared=runner.record.last_comparison)

    def one() -> Outcome:
        with lease.hold(wait=True, stop=stop):
            outcome = runner.run()
        print_line(outcome.manifest, print_out, is_new=outcome.is_new)
        began_at = outcome.manifest.started_at.timestamp()
        collector.ran(began_at, outcome.manifest.tables)
        runner.record.fresh(began_at, outcome.manifest.tables, every_s=every_s)
        return outcome

    with exposed(arguments.metrics, collector, error=BatchError):
        print_out(f"running every {every_s:g} s until SIGTERM")
        serve(one, every_s=every_s, stop=stop, say=print_out)
    runner.record.fresh(time.time())
    print_out("stopped by a signal")
    return 0


def _check_window(definition: Definition, arguments: argparse.Namespace) -> None:
    """Refuse bounds of a window that a selected table would not obey."""
    if not (arguments.since or arguments.until):
        return
    chosen = [table for table in definition.tables if arguments.table in (None, table.name)]
    others = [table.name for table in chosen if table.feed != "jdbc" or not has_time_cursor(table)]
    if arguments.layer not in (None, "bronze") or not chosen or others:
        names = ", ".join(others) or arguments.table or f"the layer {arguments.layer}"
        text = f"--since and --until apply only to tables that are read by JDBC with a time cursor, not to {names}"
        cure = "leave them out, choose such a table with --table, or use `millrace lake backfill`"
        raise BatchError(f"{text}: {cure}")


def _check_contradictions(arguments: argparse.Namespace) -> None:
    if arguments.layer is not None and arguments.layer not in LAYERS:
        raise BatchError(f"unknown layer {arguments.layer!r}: use one of {', '.join(LAYERS)}")
    if arguments.metrics is not None and arguments.every is None:
        raise BatchError("--metrics needs --every: a single run ends before anybody could ask it")
    if arguments.since and arguments.until and arguments.since >= arguments.until:
        raise BatchError("--since must be before --until")
    if (arguments.since or arguments.until) and arguments.every is not None:
        raise BatchError("--since and --until apply to a single run only: leave out --every")
