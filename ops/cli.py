"""The operator's program, `python -m stack`: the local servers, and the tools around servers wherever they run."""

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
    """A module that adds commands."""

    def add_commands(self, subparsers: Any) -> None:
        """Add them; each sets `run`."""


def parser(*more: Commands) -> argparse.ArgumentParser:
    """The parser of all commands, and of `more`; each sets `run`."""
    root = argparse.ArgumentParser(
        prog="python -m stack", description="the servers on one machine and the tools around servers"
    )
    subparsers = root.add_subparsers(required=True, metavar="COMMAND")
    for module in (commands, topics, schemas, connector, dataset, dead_letters, locks, *more):
        module.add_commands(subparsers)
    return root


def main(arguments: Sequence[str] | None = None, *, more: Sequence[Commands] = ()) -> int:
    """Run one command; its exit code."""
    parsed = parser(*more).parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (StackError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, CancelledWorkError):
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `logs | head`
        sys.stderr.close()
        return 1
