"""The command `millrace dataset load`, which loads CSV files into tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from config.definition import Definition
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.command import add_dataset_command, chosen_database, chosen_definition, say
from ops.dataset.load import Outcome, load_file
from ops.dataset.shipped import shipped_files
from stack.errors import StackError


def add_load_command(commands: Any) -> None:
    """Add the command `load`."""
    parser = add_dataset_command(
        commands, "load", run_load, "load CSV files with a header; report rejected rows by line, with exit code 1"
    )
    parser.add_argument("table", metavar="TABLE", nargs="?")
    parser.add_argument("file", type=Path, metavar="FILE.csv", nargs="?")
    parser.add_argument(
        "--all",
        action="store_true",
        help="load the files that the dataset comes with, one for each table; rejected rows go to the current folder",
    )
    parser.add_argument(
        "--on-duplicate",
        type=OnDuplicate,
        choices=list(OnDuplicate),
        default=OnDuplicate.FAIL,
        help="if the key exists: reject the row (fail, the default), keep the existing row (skip), or replace it",
    )
    parser.add_argument("--delimiter", default=",", metavar="CHARACTER", help="field separator (default: a comma)")


def run_load(arguments: argparse.Namespace) -> int:
    """Load one CSV file; return 1 if rows were rejected."""
    definition = chosen_definition(arguments)
    if len(arguments.delimiter) != 1:
        raise StackError(f"--delimiter must be one character, not {arguments.delimiter!r}")
    rejected = 0
    with connected(chosen_database(arguments), definition.database, definition.schema) as connection:
        for name, path in files_to_load(arguments, definition).items():
            outcome = load_file(
                connection,
                definition.table(name),
                path,
                on_duplicate=arguments.on_duplicate,
                delimiter=arguments.delimiter,
                rejected_to=Path.cwd() if arguments.all else None,
                report=say,
            )
            _say_rejections(path, outcome)
            say(f"{path}: {outcome}")
            rejected += outcome.rejected
    return 1 if rejected else 0


def files_to_load(arguments: argparse.Namespace, definition: Definition) -> dict[str, Path]:
    """Return the files that the command `load` names, keyed by table.

    Raises:
        StackError: the command names none, or a table that does not exist.
    """
    if arguments.all:
        if arguments.table is not None:
            raise StackError("--all loads the files of all tables: leave TABLE and FILE.csv out")
        return shipped_files(definition)
    if arguments.table is None or arguments.file is None:
        raise StackError("name TABLE and FILE.csv, or use --all for the files that the dataset comes with")
    try:
        return {definition.table(arguments.table).name: arguments.file}
    except KeyError as error:
        raise StackError(error.args[0]) from None


def _say_rejections(path: Path, outcome: Outcome) -> None:
    for row in outcome.examples:
        print(f"{path}: line {row.line}: {row.reason}", file=sys.stderr)
    if outcome.rejected > len(outcome.examples):
        print(f"… and {outcome.rejected - len(outcome.examples):,} more", file=sys.stderr)
