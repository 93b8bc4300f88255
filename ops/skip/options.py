"""Options of `millrace topics skip`. Its code is imported only when it runs, because it needs the workers' clients."""

from __future__ import annotations

import argparse
import importlib
from typing import Final

HELP: Final = """\
step over source records that an application cannot process

--offset N skips one record, which must be the next one that the application has to process. --to-beginning goes on with
the first record that still exists, after the topic was truncated, or deleted and created again. Either way, a dead
letter keeps the record's bytes, as far as they can be read, its position or the lost range, and the reason. The command
refuses to run while the application has workers. Start them afterwards."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `topics skip`."""
    parser.add_argument("--app", required=True, metavar="ID", help="id of the application, such as millrace-orders")
    parser.add_argument("--topic", required=True, help="source topic")
    parser.add_argument("--partition", required=True, type=_number, metavar="P", help="partition of the topic")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--offset", type=_number, metavar="N", help="skip the record at this offset, the next to process"
    )
    where.add_argument("--to-beginning", action="store_true", help="go on with the first record that still exists")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why, for the dead letter")


def run(arguments: argparse.Namespace) -> int:
    """Skip records of one topic partition for one application."""
    return int(importlib.import_module("ops.skip.command").run(arguments))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
