"""`python -m batch`: build, query and maintain the lake, whose layers are Bronze, Silver and Gold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from batch.commands import backfill, dictionary, erase, inspect, maintain, rebuild, reconcile, replay, run
from batch.pipeline.runner import OPERATING_ERRORS, brief
from config.settings import SettingsError

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Build the argument parser; the parser of each command sets `run` to the function that executes the command."""
    root = argparse.ArgumentParser(prog="python -m batch", description=__doc__)
    subparsers = root.add_subparsers(required=True, metavar="COMMAND")
    for module in (run, inspect, backfill, reconcile, replay, rebuild, maintain, erase, dictionary):
        module.add_commands(subparsers)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (*OPERATING_ERRORS, SettingsError) as error:
        print(brief(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: work committed so far is kept, and the next run continues from there", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the program that reads the output has exited, as in `sql … | head`
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
