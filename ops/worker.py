"""Run a worker of an application, and restart it when it fails."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from config import parsing
from config.programs import PROGRAMS
from config.settings import read_groups, use_environment
from ops import restarter
from ops.context import add_stack_option, settings_environment

APPLICATIONS: Final = ("orders", "lookups", "archive")


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
    environment = settings_environment(arguments)
    read_groups(PROGRAMS[arguments.application], environment)  # restarting does not mend a wrong setting
    use_environment(environment)
    return restarter.main(["--", *worker_command(arguments.application, arguments.web_port, *arguments.faust_options)])


def worker_command(application: str, web_port: int, *options: str) -> list[str]:
    """Return the command line of a worker; `options` are more options of `faust worker`."""
    module = f"streams.{application}"
    return [sys.executable, "-u", "-m", "faust", "-A", module, "worker", "--web-port", str(web_port), *options]


def _port(text: str) -> int:
    try:
        return int(parsing.whole(1, 65535)(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"invalid port {text!r}: {error}") from None
