"""The program `python -m stack`: manage local servers, and operate local or remote servers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from config.settings import SettingsError
from ops import locks, schemas, topics
from ops.connector import commands as connector
from ops.dataset import cli as dataset
from ops.dead_letters import commands as dead_letters
from stack import commands
from stack.errors import CancelledWorkError, StackError

_INTERRUPTED = 130


class Commands(Protocol):
    """A module that adds its commands to the parser."""

    def add_commands(self, subparsers: Any) -> None:
        """Add the commands; each sets the parser default `run` to the function that executes the command."""


def parser(*more: Commands) -> argparse.ArgumentParser:
    """Build the parser with all commands, including those of the modules `more`."""
    root = argparse.ArgumentParser(
        prog="python -m stack", description="run servers on this machine, and operate local or remote servers"
    )
    subparsers = root.add_subparsers(required=True, metavar="COMMAND")
    for module in (commands, topics, schemas, connector, dataset, dead_letters, locks, *more):
        module.add_commands(subparsers)
    return root


def main(arguments: Sequence[str] | None = None, *, more: Sequence[Commands] = ()) -> int:
    """Run one command and return its exit code."""
    parsed = parser(*more).parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (StackError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, CancelledWorkError):
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the output has exited, as in `logs | head`
        sys.stderr.close()
        return 1
