"""Names of stacks."""

from __future__ import annotations

import argparse
import re

from stack.errors import StackError

DEFAULT_STACK = "default"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def stack_name(text: str) -> str:
    """Check the name of a stack: it becomes the name of a folder."""
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a stack's name has up to 40 letters, digits, '_' and '-'")
    return text


def no_such_stack(name: str) -> StackError:
    """The error of a command about a stack that was never started."""
    option = "" if name == DEFAULT_STACK else f" --name {name}"
    return StackError(f"there is no stack {name}: start it with `python -m stack up{option}`")
