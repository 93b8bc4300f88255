"""`millrace lake maintain`: compact the tables of the lake, and delete data that is no longer needed.

1. Remove tombstones older than `--tombstones` from Silver; late changes to these rows are no longer expected.
2. Merge the small files of each partition; the target size depends on the size of the table.
3. Delete files that are needed only by versions older than `--keep`.
4. With `--archive`, delete objects from the archive of raw changes that are older than this interval and that Bronze
   has already read. A table can then no longer be rebuilt from its archive, only from Bronze. Without the option, no
   object is deleted.

5. Delete the manifests of runs that are older than `--runs`.

Like every run, maintenance takes the dataset's lease and writes a manifest and the layers' logs. The manifest names the
resulting versions, so that nobody reads versions whose files are deleted. A change that no run processes within
`--keep` is lost from its table's change feed; the next run then rebuilds the tables that depend on that table.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyspark.sql import SparkSession

from batch.console.output import print_out
from batch.context import LayerResult, RunContext
from batch.delta.table import LakeTable
from batch.errors import BatchError
from batch.pipeline.launch import run_once
from batch.pipeline.maintenance import maintained, with_less_archive
from batch.pipeline.plan import LAYERS, check_choice, table_names
from batch.pipeline.runner import Plan, Step
from batch.pipeline.tables import lake_table
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.quarantine import quarantine_table
from config import parsing
from config.command_line import argument

KEEP_S_MIN: Final = 3600.0
"""Minimum of `--keep` and `--archive` in seconds, because a reader or writer may use a version for this long."""

QUARANTINE: Final = "quarantine"


def add_commands(subparsers: Any) -> None:
    """Register the `maintain` command and its options."""
    text = "compact tables, remove old tombstones, delete files of old versions; exit code 1 if a table failed"
    parser = subparsers.add_parser("maintain", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("--layer", metavar="LAYER", help=f"maintain only this layer: {', '.join(LAYERS)}")
    parser.add_argument("--table", metavar="TABLE", help="maintain only this table (a source table or a Gold table)")
    parser.add_argument(
        "--keep",
        type=argument(parsing.interval),
        default="7d",
        metavar="7d",
        help="keep old versions readable for this long (default: 7d)",
    )
    parser.add_argument(
        "--tombstones",
        type=argument(parsing.interval),
        default="30d",
        metavar="30d",
        help="remove tombstones older than this from Silver (default: 30d)",
    )
    parser.add_argument(
        "--archive",
        type=argument(parsing.interval),
        metavar="365d",
        help="delete archived raw changes that are older than this and already in Bronze (default: keep all)",
    )
    parser.add_argument(
        "--runs",
        type=argument(parsing.interval),
        default="90d",
        metavar="90d",
        help="keep the manifests of runs, which `millrace lake history` lists, for this long (default: 90d)",
    )
    parser.add_argument("--wait", action="store_true", help="if another run of the dataset is in progress, wait for it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Maintain the tables that the arguments select, and return the exit code."""
    for name in ("keep", "archive"):
        value = getattr(arguments, name)
        if value is not None and value < KEEP_S_MIN:
            raise BatchError(f"--{name} must be at least 1h, because a version may be in use for that long")
    with open_workspace(arguments) as workspace:
        check_choice(workspace.definition, layer=arguments.layer, table=arguments.table)
        code = run_once(workspace, lambda spark: planner(workspace, spark, arguments), wait=arguments.wait)
        forgotten = workspace.manifests.forget(datetime.now(UTC) - timedelta(seconds=arguments.runs))
        print_out(f"removed {forgotten:,} manifests of runs")
        return code


def planner(workspace: Workspace, spark: SparkSession, arguments: argparse.Namespace) -> Plan:
    """Plan the maintenance of the selected tables, and of the quarantine if all of Silver is selected."""

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(spark, run_id, started_at)
        raw = workspace.raw_records(print_out)
        if raw is not None and arguments.archive is not None:
            raw.follow()  # what is deleted from the archive can't be copied later
        found = []
        for layer in LAYERS:
            if arguments.layer not in (None, layer):
                continue
            names = [name for name in table_names(workspace.definition, layer) if arguments.table in (None, name)]
            found += [
                (layer, name, lake_table(spark, workspace.lake, workspace.definition, layer, name)) for name in names
            ]
            if layer == "silver" and arguments.table is None:
                found.append((layer, QUARANTINE, quarantine_table(context)))
        return [_step(*each, context, arguments) for each in found]

    return plan


def _step(layer: str, name: str, table: LakeTable, context: RunContext, arguments: argparse.Namespace) -> Step:
    # A history table keeps its tombstones, because each one marks the end of a version's validity.
    has_tombstones = layer == "silver" and name in [each.name for each in context.definition.tables]
    tombstones_s = arguments.tombstones if has_tombstones else None

    def work() -> LayerResult:
        if not table.exists():
            return LayerResult(layer=layer, table=name, version=None, is_unchanged=True)
        found = maintained(table, context, keep_s=arguments.keep, tombstones_s=tombstones_s)
        if layer != "bronze" or arguments.archive is None:
            return found
        forgotten = with_less_archive(context.definition.table(name), table, context, keep_s=arguments.archive)
        return replace(found, note=f"{found.note}, {forgotten}")

    return Step(layer=layer, table=name, work=work)
