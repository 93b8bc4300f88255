"""Names of local stacks: their syntax, and the error for a stack that was never started."""

from __future__ import annotations

import argparse
import re

from stack.errors import StackError

DEFAULT_STACK = "default"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def stack_name(text: str) -> str:
    """Check the name of a stack, which becomes the name of a folder."""
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"invalid stack name {text!r}: use up to 40 letters, digits, '_' and '-', beginning with a letter or digit"
        )
    return text


def no_such_stack(name: str) -> StackError:
    """Build the error for a local stack that was named but never started."""
    option = "" if name == DEFAULT_STACK else f" --name {name}"
    return StackError(f"there is no stack {name}: start it with `python -m stack up{option}`")
