"""`python -m batch maintain`: the upkeep of the lake that ordinary runs leave out.

1. Remove tombstones of Silver older than `--tombstones`: an earlier change of such a row is not expected any more.
2. Merge the small files of each partition; the target size depends on the size of the table.
3. Delete files that only versions older than `--keep` need.
4. With `--archive`, delete objects of the archive of raw changes that Bronze has landed and that are older than this
   interval. After that a table cannot be rebuilt from its archive, only from Bronze. Without it, all objects stay.

Maintenance is a run like any other, with the lease, a manifest and the layers' logs. The manifest names the resulting
versions, so that nobody reads versions whose files are deleted. If no run has processed a change within `--keep`, it is
lost from its table's change feed; the next run then rebuilds the tables that depend on that table.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from pyspark.sql import SparkSession

from batch.console.arguments import interval
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

KEEP_S_MIN: Final = 3600.0
"""Minimum of `--keep` and `--archive`: a reader or another writer may use a version for this long."""

QUARANTINE: Final = "quarantine"


def add_commands(subparsers: Any) -> None:
    """Add `maintain`."""
    text = "compact tables, remove old tombstones, delete files of old versions; exit code 1 if a table failed"
    parser = subparsers.add_parser("maintain", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("--layer", metavar="LAYER", help=f"maintain only this layer: {', '.join(LAYERS)}")
    parser.add_argument("--table", metavar="TABLE", help="maintain only this table (a source table or a Gold table)")
    parser.add_argument(
        "--keep",
        type=interval,
        default=7 * 86_400.0,
        metavar="7d",
        help="how long old versions stay readable (default: 7d)",
    )
    parser.add_argument(
        "--tombstones",
        type=interval,
        default=30 * 86_400.0,
        metavar="30d",
        help="remove tombstones of Silver older than this (default: 30d)",
    )
    parser.add_argument(
        "--archive",
        type=interval,
        metavar="365d",
        help="delete archived raw changes older than this, if Bronze has landed them (default: keep all)",
    )
    parser.add_argument("--wait", action="store_true", help="wait while another run of the dataset is in progress")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Maintain the chosen tables."""
    for name in ("keep", "archive"):
        value = getattr(arguments, name)
        if value is not None and value < KEEP_S_MIN:
            raise BatchError(f"--{name} must be at least 1h, because a reader or writer may run that long")
    with open_workspace(arguments) as workspace:
        check_choice(workspace.definition, layer=arguments.layer, table=arguments.table)
        return run_once(workspace, lambda spark: planner(workspace, spark, arguments), wait=arguments.wait)


def planner(workspace: Workspace, spark: SparkSession, arguments: argparse.Namespace) -> Plan:
    """Return the plan: each table of the chosen layers, and the quarantine if all of Silver is chosen."""

    def plan(run_id: str, started_at: datetime) -> list[Step]:
        context = workspace.context(spark, run_id, started_at)
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
    # A history table keeps its tombstones, because each one ends the period of a version.
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
