"""Print a script with which a shell completes the commands and options of `millrace`."""

from __future__ import annotations

import argparse
from typing import Any

import shtab

from ops import cli
from ops.lake import lake_program

SHELLS = ("bash", "zsh")


def add_commands(subparsers: Any) -> None:
    """Add the command `completion`."""
    text = "print a script that completes commands and options in a shell"
    parser = subparsers.add_parser(
        "completion",
        help=text,
        description=f"{text}: for bash into a file that ~/.bashrc sources, for zsh into _millrace in a folder of fpath",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run_completion)


def run_completion(arguments: argparse.Namespace) -> int:
    """Print the script."""
    print(shtab.complete(whole_parser(), shell=arguments.shell))
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands, with the commands of the lake's own program below `lake`."""
    root = cli.parser()
    [subparsers] = root._get_positional_actions()
    assert isinstance(subparsers.choices, dict)
    subparsers.choices["lake"] = lake_program().parser("millrace lake")
    return root
