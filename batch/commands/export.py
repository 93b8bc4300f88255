"""`millrace lake export`: copy rows of a table to Parquet, CSV or JSON files."""

from __future__ import annotations

import argparse
from typing import Any, Final

from batch.commands.inspect import version_of
from batch.console.conditions import filter_of, parsed_condition
from batch.console.output import print_error, print_out
from batch.delta.published import PublishedTable
from batch.errors import BatchError
from batch.pipeline.export import FORMATS, Request, export
from batch.pipeline.plan import check_choice, layer_of
from batch.pipeline.tables import lake_uri
from batch.pipeline.workspace import Workspace, add_dataset_option, open_workspace
from batch.storage.objects import object_folder
from config.json_output import add_json_option, print_json

LAYERS: Final = ("silver", "gold")
_DELETED: Final = "_deleted"


def add_commands(subparsers: Any) -> None:
    """Register the command `export` and its options."""
    text = "copy the rows of a table, as of the last run, to files; an interrupted export goes on where it was"
    parser = subparsers.add_parser("export", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument("table", metavar="TABLE", help="a source table, or a Gold table")
    parser.add_argument("--layer", choices=LAYERS, help="layer of the table (default: silver, or gold for Gold tables)")
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
        layer, table = _chosen(arguments, workspace)
        columns = _columns(arguments, table)
        condition = filter_of(comparisons, table.schema)
        if _DELETED in table.schema.names:
            live = filter_of(parsed_condition(f"{_DELETED} = false"), table.schema)
            condition = live if condition is None else condition & live
        parts = table.parts()
        request = Request(
            table=f"{layer}/{arguments.table}",
            mark=table.mark,
            columns=columns,
            where=arguments.where,
            format=arguments.format,
            parts=len(parts),
        )
        folder = object_folder(arguments.to, workspace.store)
        done = export(parts, condition, request, folder, print_error if arguments.json else print_out)
    if arguments.json:
        return print_json(arguments, rows=done.rows, sha256=done.checksum, parts=len(done.done))
    print_out(f"{arguments.to}: {done.rows:,} rows in {len(done.done):,} files, sha256 {done.checksum}")
    return 0


def _chosen(arguments: argparse.Namespace, workspace: Workspace) -> tuple[str, PublishedTable]:
    layer = arguments.layer or layer_of(workspace.definition, arguments.table)
    check_choice(workspace.definition, layer=layer, table=arguments.table)
    version = version_of(workspace.newest(), layer, arguments.table)
    uri = lake_uri(workspace.lake, workspace.definition, layer, arguments.table)
    return layer, PublishedTable(uri, version, workspace.store)


def _columns(arguments: argparse.Namespace, table: PublishedTable) -> list[str]:
    """Return the columns to copy; those that the lake added to a Silver table only if they are named."""
    known = table.schema.names
    if arguments.columns is None:
        return [name for name in known if not name.startswith("_")]
    wanted = [name.strip() for name in arguments.columns.split(",")]
    if unknown := [name for name in wanted if name not in known]:
        text = f"--columns: there is no column {', '.join(map(repr, unknown))} (there are: {', '.join(known)})"
        raise BatchError(text, table=arguments.table)
    return wanted
