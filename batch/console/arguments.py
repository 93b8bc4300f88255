"""Parsers for command-line argument values; their error messages show the expected form."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError

from config.command_line import argument
from config.parsing import point_in_time


def count(text: str) -> int:
    """Parse a count, which must be a positive integer."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"invalid count {text!r}: use a whole number above 0")
    return int(text)


def add_window_options(parser: ArgumentParser, *, since: str, until: str) -> None:
    """Add the options `--since` and `--until`, which bound a time window, with these help texts."""
    for option, text in (("--since", since), ("--until", until)):
        parser.add_argument(
            option,
            type=argument(point_in_time),
            metavar="TIME",
            help=f"{text}, as 2025-01-31T12:00 (UTC) or as 2h (ago)",
        )
