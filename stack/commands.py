"""Commands that start, stop and inspect the local servers."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from config.dataset import DefinitionError, load_definition
from config.environment_file import format_settings, write_environment_file
from config.json_output import add_json_option, print_json
from config.programs import PROGRAMS, names_of
from config.settings import DatasetSettings
from stack.errors import StackError
from stack.health import ServerStatus
from stack.local import Stack, stack_folder
from stack.names import DEFAULT_STACK, no_such_stack, stack_name
from stack.ports import DEFAULT_PORTS, free_ports, parse_ports
from stack.record import last_lines
from stack.servers import SERVERS, servers_for

_FOLLOW_SECONDS = 0.25


def add_commands(subparsers: Any) -> None:
    """Add the commands `up`, `down`, `reset`, `status`, `logs` and `env`."""
    up = _add(subparsers, "up", run_up, "start the servers that are not running, and wait until all are healthy")
    up.add_argument(
        "--only",
        type=_servers,
        metavar="SERVER,…",
        help=f"start only some of {', '.join(SERVERS)} (default: those that the dataset needs)",
    )
    ports = up.add_mutually_exclusive_group()
    ports.add_argument(
        "--ports", default="", metavar="SERVER=PORT,…", help=f"ports to use (default: {_default_ports()})"
    )
    ports.add_argument("--free-ports", action="store_true", help="use any free ports")
    down = _add(subparsers, "down", run_down, "stop the servers and keep their data")
    down.add_argument("--only", type=_servers, metavar="SERVER,…", help="stop only these servers")
    _add(subparsers, "reset", run_reset, "stop the servers and delete their data")
    status = _add(subparsers, "status", run_status, "show the servers; exit code 1 if any is not healthy")
    add_json_option(
        status,
        servers="objects with `server`, `state` (running, paused, stopped or died), `pid`, `port`, `uptime_s`, "
        "`healthy` and `health` (the reason if it is not healthy)",
    )
    logs = _add(subparsers, "logs", run_logs, "show the output of a server")
    logs.add_argument("server", choices=tuple(SERVERS))
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing new lines until interrupted")
    logs.add_argument("-n", "--lines", type=int, default=20, metavar="COUNT", help="number of lines (default: 20)")
    env = _add(subparsers, "env", run_env, "print the settings with which programs reach the servers")
    env.add_argument("--for", dest="program", choices=tuple(PROGRAMS), help="only the settings that this program reads")
    form = env.add_mutually_exclusive_group()
    form.add_argument("--format", choices=("shell", "dotenv"), default="shell")
    form.add_argument("--write", type=Path, metavar="FILE", help="write a .env file that only you can read")


def run_up(arguments: argparse.Namespace) -> int:
    """Start the servers, and wait until they are healthy."""
    cancelled = _cancelled_by_signals()
    ports = parse_ports(arguments.ports)
    stack = Stack.existing(stack_folder(arguments.name))
    if arguments.free_ports:
        ports = {} if stack is not None and _any_runs(stack) else free_ports()
    stack = Stack.at(stack_folder(arguments.name), ports=ports, servers=arguments.only or _needed_servers())
    began = time.monotonic()
    stack.up(_print, only=arguments.only, cancelled=cancelled)
    print(f"stack {arguments.name} is up after {time.monotonic() - began:.1f} s")
    return 0


def run_down(arguments: argparse.Namespace) -> int:
    """Stop the servers, and keep their data."""
    stack = Stack.existing(stack_folder(arguments.name))
    if stack is not None:
        stack.down(_print, only=arguments.only)
    print(f"stack {arguments.name} is down" if not arguments.only else f"stopped {', '.join(arguments.only)}")
    return 0


def run_reset(arguments: argparse.Namespace) -> int:
    """Stop the servers and delete their data."""
    stack = Stack.existing(stack_folder(arguments.name))
    if stack is not None:
        stack.reset(_print)
    print(f"stack {arguments.name} is deleted")
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """Print the status of the servers; return 1 if any is not healthy."""
    found = _existing(arguments.name).status()
    exit_code = 0 if all(server.is_healthy for server in found) else 1
    if arguments.json:
        return print_json(arguments, exit_code=exit_code, servers=[_members(server) for server in found])
    print(format_status(found))
    return exit_code


def _members(server: ServerStatus) -> dict[str, Any]:
    return {
        "server": server.server,
        "state": server.state,
        "pid": server.pid,
        "port": server.port,
        "uptime_s": server.uptime_seconds,
        "healthy": server.is_healthy,
        "health": server.health,
    }


def run_logs(arguments: argparse.Namespace) -> int:
    """Print the last lines of a server's output, and with `--follow` all new ones."""
    log = _existing(arguments.name).site.log(arguments.server)
    if not log.exists():
        raise StackError(f"{arguments.server} has no log yet ({log})")
    offset = log.stat().st_size
    for line in last_lines(log, arguments.lines) if arguments.lines > 0 else []:
        print(line)
    while arguments.follow:
        with log.open(errors="replace") as file:
            file.seek(offset)
            print(file.read(), end="", flush=True)
            offset = file.tell()
        time.sleep(_FOLLOW_SECONDS)
    return 0


def run_env(arguments: argparse.Namespace) -> int:
    """Print or write the settings with which programs reach the servers."""
    settings = _existing(arguments.name).environment()
    if arguments.program is not None:
        names = names_of(arguments.program)
        settings = {name: value for name, value in settings.items() if name in names}
    if arguments.write is not None:
        write_environment_file(arguments.write, settings)
        print(f"{arguments.write} has {len(settings)} settings")
    else:
        print(format_settings(settings, prefix="export " if arguments.format == "shell" else ""), end="")
    return 0


def format_status(servers: Sequence[ServerStatus]) -> str:
    """Format the status of servers as a table with one line per server."""
    rows = [("SERVER", "STATE", "PID", "PORT", "UPTIME", "HEALTH")]
    for server in servers:
        pid = "-" if server.pid is None else str(server.pid)
        rows.append((server.server, server.state, pid, str(server.port), _uptime(server), server.health))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _uptime(server: ServerStatus) -> str:
    if server.uptime_seconds is None:
        return "-"
    minutes, seconds = divmod(int(server.uptime_seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _add(subparsers: Any, name: str, run: Any, help_text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=help_text, description=help_text)
    add_name_option(parser)
    parser.set_defaults(run=run)
    return parser


def add_name_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--name`, which selects a stack other than the default one."""
    parser.add_argument("--name", type=stack_name, default=DEFAULT_STACK, help="stack to use (default: %(default)s)")


def _servers(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown server {', '.join(unknown)!r}: use {', '.join(SERVERS)}")
    if not names:
        raise argparse.ArgumentTypeError(f"no server is named: use {', '.join(SERVERS)}")
    return names


def _needed_servers() -> list[str]:
    """Return the servers that the dataset in use needs."""
    try:
        return servers_for(load_definition(DatasetSettings.read().dataset).engine)
    except DefinitionError as error:
        raise StackError(f"can't tell which servers are needed: {error}") from None


def _existing(name: str) -> Stack:
    stack = Stack.existing(stack_folder(name))
    if stack is None:
        raise no_such_stack(name)
    return stack


def _any_runs(stack: Stack) -> bool:
    return any(server.pid is not None for server in stack.status())


def _default_ports() -> str:
    return ", ".join(f"{name}={port}" for name, port in DEFAULT_PORTS.items())


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # the reader of the output has exited, but the work must still be finished
        print(f"  {line}", flush=True)


def _cancelled_by_signals() -> threading.Event:
    """Make SIGINT, SIGTERM and SIGHUP set an event instead of interrupting the work; return the event."""
    cancelled = threading.Event()

    def cancel(_number: int, _frame: FrameType | None) -> None:
        cancelled.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, cancel)
    return cancelled
