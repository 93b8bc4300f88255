"""The option `--json`, with which a command prints one JSON object instead of text.

All commands print the same shape: the member `ok`, which is true if the exit code is 0, and the members that the
command declares with the option. Messages and errors go to stderr, so that stdout has only the object; after an error
it has nothing.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

MEMBERS: Final = "json_members"
"""Default of a parser that holds the declared members with their meanings; the reference is generated from it."""


def add_json_option(parser: argparse.ArgumentParser, **members: str) -> None:
    """Add the option `--json` to a command; `members` are the names and meanings of what it prints besides `ok`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(**{MEMBERS: members})


def print_json(arguments: argparse.Namespace, *, exit_code: int = 0, **members: Any) -> int:
    """Print the declared members of a command's JSON object with `ok`, and return the exit code."""
    declared = getattr(arguments, MEMBERS)
    assert members.keys() == declared.keys(), f"declared {sorted(declared)}, printed {sorted(members)}"
    print(json.dumps({"ok": exit_code == 0, **members}, indent=2, default=str), flush=True)
    return exit_code
