"""`millrace lake dictionary`: write a dataset's data dictionary next to its definition; no server is needed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from batch.dictionary import dictionary_text
from batch.gold import plans
from batch.pipeline.workspace import add_dataset_option
from config.dataset import load_definition
from config.definition import Definition
from config.json_output import add_json_option, print_json
from config.settings import DatasetSettings

FILE: Final = "dictionary.md"


def add_commands(subparsers: Any) -> None:
    """Register the `dictionary` command and its options."""
    text = "write the data dictionary as Markdown into the dataset's folder"
    parser = subparsers.add_parser("dictionary", help=text, description=text)
    add_dataset_option(parser)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; the exit code is 1 if the file is out of date"
    )
    add_json_option(parser, file="path of the dictionary", up_to_date="whether the file was up to date")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the data dictionary; with `--check`, only report whether the existing file is up to date."""
    definition = load_definition(arguments.dataset or DatasetSettings.read().dataset)
    path, text = dictionary_path(definition), dictionary_text(definition, plans(definition))
    is_same = path.exists() and path.read_text("utf-8") == text
    exit_code = 1 if arguments.check and not is_same else 0
    if not arguments.check:
        path.write_text(text, "utf-8")
    if arguments.json:
        return print_json(arguments, exit_code=exit_code, file=str(path), up_to_date=is_same)
    state = "up to date" if is_same else "out of date: run `millrace lake dictionary`"
    print(f"{path}: {state}" if arguments.check else f"wrote {path}")
    return exit_code


def dictionary_path(definition: Definition) -> Path:
    """Return the path of a dataset's data dictionary file."""
    return Path(definition.folder, FILE)
