"""The command `lake`: the commands of `python -m batch`, on the servers that the other commands use too."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from config.settings import use_environment
from ops.context import add_stack_option, settings_environment

_WITHOUT_SERVERS = ("dictionary",)


def add_commands(subparsers: Any) -> None:
    """Add the command `lake`, which passes its arguments on."""
    text = "build, read and maintain the lake"
    parser = subparsers.add_parser("lake", help=text, description=text, add_help=False)
    parser.add_argument("-h", "--help", action="store_true", help=argparse.SUPPRESS)
    add_stack_option(parser)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    parser.set_defaults(run=lambda parsed: run_lake(parsed, parser.prog))


def run_lake(parsed: argparse.Namespace, prog: str) -> int:
    """Run a command of the lake with the settings of the chosen servers, and return its exit code."""
    lake = lake_program()
    arguments = ["--help"] * parsed.help + parsed.arguments
    lake.parser(prog).parse_args(arguments)  # wrong usage ends here, before any server is chosen
    if arguments[0] not in _WITHOUT_SERVERS:
        use_environment(settings_environment(parsed))
    return int(lake.main(arguments, prog=prog))


def lake_program() -> Any:
    """Import the program `python -m batch`, which takes a second."""
    return importlib.import_module("batch.__main__")
