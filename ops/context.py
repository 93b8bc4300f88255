"""Choose the servers that a command uses: all from the environment, or all from one stack on this machine.

The two are never mixed, because a command that asks a local Redis about a production Kafka gives wrong answers. If any
setting of a server is in the environment, only the environment counts, and a missing setting is an error. A local stack
is used if `--name` selects it, or if no such setting is in the environment.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping

from config.address import without_login
from config.dataset import DefinitionError, load_definition
from config.definition import Definition
from config.programs import SERVER_SETTINGS, SERVERS
from config.settings import environment_over
from stack.errors import NoSuchStackError, StackError
from stack.local import Stack, stack_folder
from stack.names import DEFAULT_STACK, no_such_stack, stack_name

# librdkafka logs every failed connection; the commands report the failure once, with advice.
SILENT = logging.getLogger("stack.librdkafka")
SILENT.disabled = True


def definition_of(dataset: str) -> Definition:
    """Read the definition of a dataset.

    Raises:
        StackError: the dataset is unknown, or its definition is wrong.
    """
    try:
        return load_definition(dataset)
    except DefinitionError as error:
        raise StackError(str(error)) from None


def add_stack_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--name`, which selects a local stack."""
    parser.add_argument(
        "--name",
        type=stack_name,
        help="use this local stack (default: the servers set in the environment; if none is set, the default stack)",
    )


def settings_environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the settings of a command, and print once per command which servers they name.

    Raises:
        NoSuchStackError: the local stack does not exist, or no servers are set and there is no default stack.
    """
    found: dict[str, str] | None = getattr(arguments, "environment", None)
    if found is None:
        source, found = _chosen_environment(arguments.name)
        print(f"using {source}: {server_addresses(found)}", file=sys.stderr)
        arguments.environment = found
    return found


def _chosen_environment(name: str | None) -> tuple[str, dict[str, str]]:
    """Return where the settings of the servers come from, and all settings.

    Args:
        name: the local stack that the command line selects, or None.

    Raises:
        NoSuchStackError: the local stack does not exist, or no servers are set and there is no default stack.
    """
    own = environment_over({})
    if name is None and SERVER_SETTINGS & own.keys():
        return "the servers in the environment", own
    stack = Stack.existing(stack_folder(name or DEFAULT_STACK))
    if stack is None and name is not None:
        raise no_such_stack(name)
    if stack is None:
        raise NoSuchStackError(
            "no servers are set: set KAFKA_BOOTSTRAP and the other settings of your servers, or start local servers "
            "with `millrace up`"
        )
    others = {key: value for key, value in own.items() if key not in SERVER_SETTINGS}
    return f"the local stack {name or DEFAULT_STACK}", others | stack.environment()


def server_addresses(environment: Mapping[str, str]) -> str:
    """Return the addresses of the servers in one line, without passwords."""
    found = {server: without_login(environment[name]) for server, name in SERVERS.items() if environment.get(name)}
    for server, port in (("database", "MYSQL_PORT"), ("PostgreSQL", "PGPORT")):
        if server in found and environment.get(port):
            found[server] += f":{environment[port]}"
    if not found:  # such as a password alone
        return f"only {', '.join(sorted(SERVER_SETTINGS & environment.keys()))}"
    return ", ".join(f"{server} {address}" for server, address in found.items())
