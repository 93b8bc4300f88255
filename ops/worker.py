"""Run a worker of an application, and restart it when it fails."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from config import parsing
from config.errors import UsageError
from config.programs import PROGRAMS
from config.settings import use_environment
from config.settings_group import read_groups
from ops import restarter
from ops.context import add_stack_option, settings_environment

APPLICATIONS: Final = ("orders", "lookups", "archive", "warehouse", "metrics")


def add_commands(subparsers: Any) -> None:
    """Add the command `worker`."""
    text = "run a worker of an application, and restart it when it fails"
    parser = subparsers.add_parser(
        "worker",
        help=text,
        description=f"{text}; the same as `faust -A streams.APPLICATION worker` under `python -m ops.restarter`",
    )
    parser.add_argument("application", choices=APPLICATIONS, metavar="APPLICATION", help=", ".join(APPLICATIONS))
    parser.add_argument(
        "--web-port",
        type=_port,
        default=6066,
        metavar="PORT",
        help="port of the web views; each worker on a machine needs its own (default: 6066)",
    )
    add_stack_option(parser)
    parser.add_argument(
        "--faust-options",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="OPTION",
        help="the rest of the command line: more options of `faust worker`, such as -l debug",
    )
    parser.set_defaults(run=run_worker)


def run_worker(arguments: argparse.Namespace) -> int:
    """Run the worker until it is stopped, and return its exit code."""
    _check_faust_options(arguments.faust_options)
    environment = settings_environment(arguments)
    read_groups(PROGRAMS[arguments.application], environment)  # restarting does not mend a wrong setting
    use_environment(environment)
    return restarter.main(["--", *worker_command(arguments.application, arguments.web_port, *arguments.faust_options)])


def worker_command(application: str, web_port: int, *options: str) -> list[str]:
    """Return the command line of a worker; `options` are more options of `faust worker`."""
    module = f"streams.{application}"
    return [sys.executable, "-u", "-m", "faust", "-A", module, "worker", "--web-port", str(web_port), *options]


def _check_faust_options(options: Sequence[str]) -> None:
    """Raise `UsageError` if `faust worker` would not accept the options."""
    if not options:
        return
    group = importlib.import_module("faust.cli.base").cli  # here, because the import takes a second
    importlib.import_module("faust.cli.worker")
    try:
        group.commands["worker"].make_context("faust worker", list(options))
    except click.UsageError as error:
        text = " ".join(error.format_message().split()).rstrip(".")
        raise UsageError(f"--faust-options: {text}; see `faust -A streams.orders worker --help`") from None


def _port(text: str) -> int:
    try:
        return int(parsing.whole(1, 65535)(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"invalid port {text!r}: {error}") from None
