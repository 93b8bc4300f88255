"""`millrace lake show | sql | history`: query the lake as of the last run, and list the runs."""

from __future__ import annotations

import argparse
import re
from itertools import islice
from typing import Any, Final

from pyspark.errors import ParseException
from pyspark.sql import DataFrame, SparkSession

from batch.console.arguments import count
from batch.console.output import columns, print_error
from batch.delta.table import LakeTable
from batch.errors import BatchError
from batch.pipeline.history import Write, format_runs, format_writes, run_members, write_members, writes
from batch.pipeline.manifest import Manifest
from batch.pipeline.plan import LAYERS, check_choice, layer_of
from batch.pipeline.tables import lake_table, live_rows
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.spark.times import times_in_utc
from config.json_output import add_json_option, print_json

QUARANTINE: Final = "quarantine"
_LONGEST_CELL: Final = 60
_OTHER_PROGRAM: Final = re.compile(
    r"^[\s:+|-]*'?ScriptTransformation\b|'(?:try_reflect|reflect|java_method)\(", re.MULTILINE
)
"""Nodes of a plan that run something besides Spark."""


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
    for parser in (show, sql):
        add_json_option(parser, rows="one object per row", has_more="whether there are more rows than `--limit`")
    history = _add(subparsers, "history", run_history, "list the runs, or the versions of one table, newest first")
    history.add_argument(
        "table", nargs="?", metavar="TABLE", help="list the versions of this table instead of the runs"
    )
    history.add_argument(
        "--limit", type=count, default=20, metavar="COUNT", help="maximum number of runs or versions (default: 20)"
    )
    add_json_option(
        history,
        runs="the runs, newest first, as objects with `run_id`, `started_at`, `seconds`, `rows_written`, "
        "`rules_broken` (rows that break a rule) and `failed` (names of tables); null for a table",
        versions="with TABLE: what runs wrote, newest first, as objects with `run_id`, `layer`, `version`, "
        "`rows_written`, `rules_broken`, `seconds` and `error`; else null",
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
            print_rows(rows, arguments)
        for text in manifest.drift.get(f"bronze/{arguments.table}", ()):
            print_error(f"the columns of the source differ from the definition: {text}")
    return 0


def run_sql(arguments: argparse.Namespace) -> int:
    """Run a Spark SQL query and print its rows."""
    with open_workspace(arguments) as workspace, workspace.spark() as spark:
        print_rows(queried(spark, workspace, arguments.query), arguments)
    return 0


def queried(spark: SparkSession, workspace: Workspace, query: str) -> DataFrame:
    """Run a query over views of the Silver and Gold tables, at the versions that the newest manifest names."""
    check_read_only(spark, query)
    manifest = workspace.newest()
    words = set(re.findall(r"\w+", query.lower()))
    for name in [*manifest.versions, f"silver/{QUARANTINE}"]:
        layer, _, table = name.partition("/")
        # Creating a view reads the table's log, so only tables that the query names become views.
        if layer != "bronze" and table.lower() in words:
            _table_rows(spark, workspace, manifest, layer, table).createOrReplaceTempView(table)
    return spark.sql(query)


def check_read_only(spark: SparkSession, query: str) -> None:
    """Refuse a statement that could change a table: only a query can stand in parentheses.

    A query can run another program (`TRANSFORM`) or a function of Java (`reflect`), which could change anything.

    Raises:
        BatchError: the statement is no query, or it runs something else.
    """
    parser = spark._jsparkSession.sessionState().sqlParser()
    parser.parsePlan(query)  # raises an error that points into the query, if it is malformed
    try:
        plan = parser.parsePlan(f"SELECT * FROM (\n{query.strip().rstrip(';')}\n)")  # noqa: S608 - it is only parsed
    except ParseException:
        raise BatchError("only queries are run here, because any other statement could change a table") from None
    if _OTHER_PROGRAM.search(str(plan.toString())):
        raise BatchError("only queries are run here, without TRANSFORM, MAP, REDUCE, reflect and java_method")


def run_history(arguments: argparse.Namespace) -> int:
    """Print the latest runs or, for one table, the latest versions that runs wrote."""
    with open_workspace(arguments) as workspace:
        if arguments.table is not None:
            check_choice(workspace.definition, layer=None, table=arguments.table)
        workspace.newest()  # an error if no run has written a manifest
        runs = workspace.manifests.newest_first()
        if arguments.table is None:
            return _print_runs(arguments, list(islice(runs, arguments.limit)))
        return _print_writes(arguments, list(islice(writes(runs, arguments.table), arguments.limit)))


def _print_runs(arguments: argparse.Namespace, runs: list[Manifest]) -> int:
    if arguments.json:
        return print_json(arguments, runs=[run_members(run) for run in runs], versions=None)
    print(format_runs(runs))
    return 0


def _print_writes(arguments: argparse.Namespace, found: list[Write]) -> int:
    if arguments.json:
        return print_json(arguments, runs=None, versions=[write_members(each) for each in found])
    print(format_writes(found) if found else f"no run has written {arguments.table} yet")
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


def print_rows(rows: DataFrame, arguments: argparse.Namespace) -> None:
    """Print up to `--limit` rows as a table, then the number of rows or a note that there are more; or all as JSON.

    Times are in UTC.
    """
    names, limit = rows.columns, arguments.limit
    found = times_in_utc(rows.limit(limit + 1)).collect() if names else []  # some statements return no columns
    shown, has_more = found[:limit], len(found) > limit
    if arguments.json:
        print_json(arguments, rows=[row.asDict(recursive=True) for row in shown], has_more=has_more)
    elif names:
        print(columns([names, *([_cell(value) for value in row] for row in shown)]))
        counted = f"{len(shown):,} row{'s' * (len(shown) != 1)}"
        print(f"(first {limit:,} rows; there are more)" if has_more else f"({counted})")


def _cell(value: object) -> str:
    text = "NULL" if value is None else str(value).replace("\n", " ")
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"
