"""Names of local stacks: check their syntax, and build the error for a stack that does not exist."""

from __future__ import annotations

import argparse
import re

from stack.errors import NoSuchStackError

DEFAULT_STACK = "default"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def stack_name(text: str) -> str:
    """Check and return the name of a stack, which is also the name of its folder."""
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"invalid stack name {text!r}: use up to 40 letters, digits, '_' and '-', beginning with a letter or digit"
        )
    return text


def no_such_stack(name: str) -> NoSuchStackError:
    """Build the error for a local stack that was never started."""
    option = "" if name == DEFAULT_STACK else f" --name {name}"
    return NoSuchStackError(f"there is no local stack {name!r}: start it with `millrace up{option}`")
