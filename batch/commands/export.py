"""`millrace lake export`: copy rows of a table to Parquet, CSV or JSON files."""

from __future__ import annotations

import argparse
from typing import Any, Final

import pyarrow as pa

from batch.commands.inspect import version_of
from batch.console.conditions import Comparison, filter_of, parsed_condition
from batch.console.output import Say, print_error, print_out
from batch.delta.published import PublishedTable
from batch.errors import BatchError
from batch.pipeline.export import FORMATS, Request, State, begun, export
from batch.pipeline.plan import check_choice, layer_of
from batch.pipeline.source_export import key_ranges, parts_of, source_schema
from batch.pipeline.tables import lake_uri
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.storage.database import connected
from batch.storage.objects import object_folder
from config.engines import engine_of
from config.json_output import add_json_option, print_json

LAYERS: Final = ("source", "silver", "gold")
_DELETED: Final = "_deleted"


def add_commands(subparsers: Any) -> None:
    """Register the command `export` and its options."""
    text = "copy the rows of a table, as of the last run or from the source, to files; an interrupted export goes on"
    parser = subparsers.add_parser("export", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("table", metavar="TABLE", help="a source table, or a Gold table")
    parser.add_argument(
        "--layer", choices=LAYERS, help="where to read the table (default: silver, or gold for Gold tables)"
    )
    parser.add_argument("--columns", metavar="NAME,…", help="columns to copy (default: all but those of the lake)")
    parser.add_argument("--where", default="", metavar="CONDITION", help="such as \"country = 'DE' AND id > 100\"")
    parser.add_argument("--format", choices=FORMATS, default="parquet", help="format of the files (default: parquet)")
    parser.add_argument("--to", required=True, metavar="FOLDER", help="an empty folder: a path, or an s3a:// URI")
    add_json_option(
        parser, rows="number of rows", sha256="checksum of the checksums of all parts", parts="number of files"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export the table that the arguments select."""
    comparisons = parsed_condition(arguments.where) if arguments.where else []
    with open_workspace(arguments) as workspace:
        of = _exported_source if arguments.layer == "source" else _exported_table
        done = of(arguments, workspace, comparisons, print_error if arguments.json else print_out)
    if arguments.json:
        return print_json(arguments, rows=done.rows, sha256=done.checksum, parts=len(done.done))
    print_out(f"{arguments.to}: {done.rows:,} rows in {len(done.done):,} files, sha256 {done.checksum}")
    return 0


def _exported_table(
    arguments: argparse.Namespace, workspace: Workspace, comparisons: list[Comparison], say: Say
) -> State:
    """Export a table of the lake at its published version, without the rows that are deleted."""
    layer, table = _chosen(arguments, workspace)
    columns = _columns(arguments, table.schema)
    condition = filter_of(comparisons, table.schema)
    if _DELETED in table.schema.names:
        live = filter_of(parsed_condition(f"{_DELETED} = false"), table.schema)
        condition = live if condition is None else condition & live
    folder = object_folder(arguments.to, workspace.store)
    state = begun(_request(arguments, f"{layer}/{arguments.table}", table.mark, columns), folder)
    export(table.parts(), condition, state, folder, say)
    return state


def _exported_source(
    arguments: argparse.Namespace, workspace: Workspace, comparisons: list[Comparison], say: Say
) -> State:
    """Export a table of the source database, in one consistent snapshot."""
    definition = workspace.definition
    check_choice(definition, layer="bronze", table=arguments.table)
    table = definition.table(arguments.table)
    schema = source_schema(table)
    columns, condition = _columns(arguments, schema), filter_of(comparisons, schema)
    folder = object_folder(arguments.to, workspace.store)
    request = _request(arguments, f"source/{table.name}", "source", columns)
    login = engine_of(definition).login()
    with (
        connected(login, definition.database, definition.schema, autocommit=False) as connection,
        connection.engine.consistent_snapshot(connection),
    ):
        state = begun(request, folder, lambda: key_ranges(connection, table))
        export(parts_of(connection, table, state.ranges, comparisons), condition, state, folder, say)
    return state


def _request(arguments: argparse.Namespace, table: str, mark: str, columns: list[str]) -> Request:
    return Request(table=table, mark=mark, columns=columns, where=arguments.where, format=arguments.format)


def _chosen(arguments: argparse.Namespace, workspace: Workspace) -> tuple[str, PublishedTable]:
    layer = arguments.layer or layer_of(workspace.definition, arguments.table)
    check_choice(workspace.definition, layer=layer, table=arguments.table)
    version = version_of(workspace.newest(), layer, arguments.table)
    uri = lake_uri(workspace.lake, workspace.definition, layer, arguments.table)
    return layer, PublishedTable(uri, version, workspace.store)


def _columns(arguments: argparse.Namespace, schema: pa.Schema) -> list[str]:
    """Return the columns to copy; those that the lake added to a Silver table only if they are named."""
    known = schema.names
    if arguments.columns is None:
        return [name for name in known if not name.startswith("_")]
    wanted = [name.strip() for name in arguments.columns.split(",")]
    if unknown := [name for name in wanted if name not in known]:
        text = f"--columns: there is no column {', '.join(map(repr, unknown))} (there are: {', '.join(known)})"
        raise BatchError(text, table=arguments.table)
    return wanted
