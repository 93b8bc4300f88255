"""`millrace lake show | sql | history`: query the lake as of the last run, and list the runs."""

from __future__ import annotations

import argparse
import re
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession

from batch.console.arguments import count
from batch.console.output import columns
from batch.delta.table import LakeTable
from batch.errors import BatchError
from batch.pipeline.manifest import Manifest
from batch.pipeline.plan import LAYERS, check_choice, layer_of
from batch.pipeline.report import outcome_text
from batch.pipeline.tables import lake_table, live_rows
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace

QUARANTINE: Final = "quarantine"
_LONGEST_CELL: Final = 60


def add_commands(subparsers: Any) -> None:
    """Register the commands `show`, `sql` and `history` and their options."""
    show = _add(subparsers, "show", run_show, "print rows of a table; for Silver tables, without tombstones")
    show.add_argument("table", metavar="TABLE", help=f"a source table, a Gold table, or {QUARANTINE}")
    show.add_argument("--layer", metavar="LAYER", help="layer of the table (default: silver, or gold for Gold tables)")
    show.add_argument("--limit", type=count, default=20, metavar="COUNT", help="maximum number of rows (default: 20)")
    sql = _add(subparsers, "sql", run_sql, "run a Spark SQL query; every Silver and Gold table is available as a view")
    sql.add_argument("query", metavar="QUERY", help='for example "select count(*) from fact_orders"')
    sql.add_argument(
        "--limit", type=count, default=1_000, metavar="COUNT", help="maximum number of rows (default: 1,000)"
    )
    history = _add(subparsers, "history", run_history, "list the runs, or the versions of one table, newest first")
    history.add_argument(
        "table", nargs="?", metavar="TABLE", help="list the versions of this table instead of the runs"
    )
    history.add_argument(
        "--limit", type=count, default=20, metavar="COUNT", help="maximum number of runs (default: 20)"
    )


def _add(subparsers: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text)
    add_dataset_option(parser)
    parser.set_defaults(run=run)
    return parser


def run_show(arguments: argparse.Namespace) -> int:
    """Print rows of the table that the arguments select."""
    with open_workspace(arguments) as workspace:
        layer = arguments.layer
        if layer is not None and layer not in LAYERS:
            raise BatchError(f"unknown layer {layer!r}: use one of {', '.join(LAYERS)}")
        if arguments.table != QUARANTINE:
            check_choice(workspace.definition, layer=layer, table=arguments.table)
            layer = layer or layer_of(workspace.definition, arguments.table)
        manifest = workspace.newest()
        with workspace.spark() as spark:
            rows = _table_rows(spark, workspace, manifest, layer or "silver", arguments.table)
            print_rows(rows, arguments.limit)
    return 0


def run_sql(arguments: argparse.Namespace) -> int:
    """Run a Spark SQL query and print its rows."""
    with open_workspace(arguments) as workspace, workspace.spark() as spark:
        print_rows(queried(spark, workspace, arguments.query), arguments.limit)
    return 0


def queried(spark: SparkSession, workspace: Workspace, query: str) -> DataFrame:
    """Run a query over views of the Silver and Gold tables, at the versions that the newest manifest names."""
    manifest = workspace.newest()
    words = set(re.findall(r"\w+", query.lower()))
    for name in [*manifest.versions, f"silver/{QUARANTINE}"]:
        layer, _, table = name.partition("/")
        # Creating a view reads the table's log, so only tables that the query names become views.
        if layer != "bronze" and table.lower() in words:
            _table_rows(spark, workspace, manifest, layer, table).createOrReplaceTempView(table)
    return spark.sql(query)


def run_history(arguments: argparse.Namespace) -> int:
    """Print the latest runs or, for one table, the versions that these runs wrote."""
    with open_workspace(arguments) as workspace:
        if arguments.table is not None:
            check_choice(workspace.definition, layer=None, table=arguments.table)
        manifests = workspace.manifests.last(arguments.limit)
        if not manifests:
            workspace.newest()
    print(format_runs(manifests) if arguments.table is None else format_versions(manifests, arguments.table))
    return 0


def _table_rows(spark: SparkSession, workspace: Workspace, manifest: Manifest, layer: str, table: str) -> DataFrame:
    if table == QUARANTINE:
        quarantine = LakeTable(spark, workspace.lake.quarantine(), f"silver/{QUARANTINE}")
        if not quarantine.exists():
            raise BatchError("no row has been quarantined yet", layer="silver", table=QUARANTINE)
        return quarantine.read()
    rows = lake_table(spark, workspace.lake, workspace.definition, layer, table).read(
        version_of(manifest, layer, table)
    )
    is_newest = layer == "silver" and table in [each.name for each in workspace.definition.tables]
    return live_rows(rows) if is_newest else rows


def version_of(manifest: Manifest, layer: str, table: str) -> int:
    """Return the version of a table that the manifest names.

    Raises:
        BatchError: no run has written the table yet.
    """
    version = manifest.versions.get(f"{layer}/{table}")
    if version is None:
        raise BatchError("the table does not exist yet: run `millrace lake run`", layer=layer, table=table)
    return version


def print_rows(rows: DataFrame, limit: int) -> None:
    """Print up to `limit` rows as a table, then the number of rows or a note that there are more."""
    names = [field.name for field in rows.schema.fields]
    if not names:  # the statement returns no columns
        return
    found = rows.limit(limit + 1).collect()
    cells = [[_cell(value) for value in row] for row in found[:limit]]
    print(columns([names, *cells]))
    counted = (
        f"first {limit:,} rows; there are more"
        if len(found) > limit
        else f"{len(found):,} row{'s' * (len(found) != 1)}"
    )
    print(f"({counted})")


def _cell(value: object) -> str:
    text = "NULL" if value is None else str(value).replace("\n", " ")
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def format_runs(manifests: list[Manifest]) -> str:
    """Format the runs as a table with one line each."""
    rows = [("RUN", "STARTED", "SECONDS", "ROWS", "RULES", "")]
    for manifest in manifests:
        written = sum(table.rows_written for table in manifest.tables)
        rejected = sum(sum(table.rejected.values()) for table in manifest.tables)
        failed = ", ".join(table.name for table in manifest.tables if table.error is not None)
        started = f"{manifest.started_at:%Y-%m-%d %H:%M:%S}Z"
        state = f"failed: {failed}" if failed else "done"
        rows.append((manifest.run_id, started, f"{manifest.seconds:.1f}", f"{written:,}", f"{rejected:,}", state))
    return columns(rows, right=(2, 3, 4))


def format_versions(manifests: list[Manifest], table: str) -> str:
    """Format one line for each run and layer that wrote a version of the table, or failed to write one."""
    rows = [("RUN", "LAYER", "VERSION", "")]
    for manifest in manifests:
        for each in manifest.tables:
            if each.table == table and not each.unchanged:
                version = "-" if each.version is None else str(each.version)
                rows.append((manifest.run_id, each.layer, version, outcome_text(each)))
    return columns(rows, right=(2,))
