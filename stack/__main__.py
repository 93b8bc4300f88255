"""`python -m stack`: the servers on one machine and the tools around them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from config.settings import SettingsError
from stack import commands, locks, schemas, topics
from stack.connector import commands as connector
from stack.dataset import cli as dataset
from stack.dead_letters import commands as dead_letters
from stack.demo import command as demo
from stack.errors import CancelledWorkError, StackError

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`."""
    root = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    subparsers = root.add_subparsers(required=True, metavar="COMMAND")
    for module in (commands, topics, schemas, connector, dataset, dead_letters, locks, demo):
        module.add_commands(subparsers)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    parsed = parser().parse_args(arguments)
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


if __name__ == "__main__":
    sys.exit(main())
