"""Choose the servers that a command uses: those set in the environment, or those of a stack on this machine."""

from __future__ import annotations

import argparse
import logging

from config.settings import environment_over
from stack.local import Stack, stack_folder
from stack.names import DEFAULT_STACK, no_such_stack, stack_name

# librdkafka logs every failed connection; the commands report the failure once, with advice.
SILENT = logging.getLogger("stack.librdkafka")
SILENT.disabled = True


def add_stack_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--name`, which selects a local stack."""
    parser.add_argument(
        "--name",
        type=stack_name,
        help="use this local stack (default: the environment's settings, then those of the default stack)",
    )


def settings_environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Merge settings: a stack given by `--name` overrides the environment; the default stack only fills gaps."""
    stack = Stack.existing(stack_folder(arguments.name or DEFAULT_STACK))
    if arguments.name and stack is None:
        raise no_such_stack(arguments.name)
    if stack is None:
        return environment_over({})
    if arguments.name:
        return environment_over({}) | stack.environment()
    return environment_over(stack.environment())
