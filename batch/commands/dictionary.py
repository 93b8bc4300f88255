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
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the data dictionary; with `--check`, only report whether the existing file is up to date."""
    definition = load_definition(arguments.dataset or DatasetSettings.read().dataset)
    path, text = dictionary_path(definition), dictionary_text(definition, plans(definition))
    if arguments.check:
        is_same = path.exists() and path.read_text("utf-8") == text
        print(f"{path}: {'up to date' if is_same else 'out of date: run `millrace lake dictionary`'}")
        return 0 if is_same else 1
    path.write_text(text, "utf-8")
    print(f"wrote {path}")
    return 0


def dictionary_path(definition: Definition) -> Path:
    """Return the path of a dataset's data dictionary file."""
    return Path(definition.folder, FILE)
