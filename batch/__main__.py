"""`python -m batch`: build, query and maintain the lake, whose layers are Bronze, Silver and Gold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from batch.commands import backfill, dictionary, erase, export, inspect, maintain, rebuild, reconcile, replay, run
from batch.pipeline.runner import OPERATING_ERRORS, brief
from config.command_line import Parser, run_to_exit_code
from config.errors import OperatorError

PROG = "python -m batch"


def parser(prog: str = PROG) -> argparse.ArgumentParser:
    """Build the argument parser; the parser of each command sets `run` to the function that executes the command."""
    root = Parser(prog=prog, description=__doc__)
    subparsers = root.add_subparsers(required=True, metavar="COMMAND")
    for module in (run, inspect, backfill, reconcile, replay, rebuild, maintain, erase, export, dictionary):
        module.add_commands(subparsers)
    return root


def main(arguments: Sequence[str] | None = None, *, prog: str = PROG) -> int:
    """Run one command and return its exit code; `prog` is the name of the program in its help and its errors."""
    parsed = parser(prog).parse_args(arguments)

    def run() -> int:
        try:
            return int(parsed.run(parsed))
        except OPERATING_ERRORS as error:
            raise OperatorError(brief(error)) from None

    return run_to_exit_code(
        run, when_interrupted="interrupted: work committed so far is kept, and the next run continues from there"
    )


if __name__ == "__main__":
    sys.exit(main())
