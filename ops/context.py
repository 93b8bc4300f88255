"""Which servers a tool talks to: those of the environment, or those of a stack on this machine."""

from __future__ import annotations

import argparse
import logging

from config.settings import environment_over
from stack.local import Stack, stack_folder
from stack.names import DEFAULT_STACK, no_such_stack, stack_name

# librdkafka reports each failed connection on its own; the commands name the failure once, with what to do.
SILENT = logging.getLogger("stack.librdkafka")
SILENT.disabled = True


def add_stack_option(parser: argparse.ArgumentParser) -> None:
    """Let a tool be pointed at a stack."""
    parser.add_argument(
        "--name",
        type=stack_name,
        help="the servers of this stack (default: those of the environment, and of the default stack what that lacks)",
    )


def settings_environment(arguments: argparse.Namespace) -> dict[str, str]:
    """The settings for a tool: a named stack's before the environment's, the default stack's after them."""
    stack = Stack.existing(stack_folder(arguments.name or DEFAULT_STACK))
    if arguments.name and stack is None:
        raise no_such_stack(arguments.name)
    if stack is None:
        return environment_over({})
    if arguments.name:
        return environment_over({}) | stack.environment()
    return environment_over(stack.environment())
