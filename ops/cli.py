"""The program `millrace`: one front door to the local servers, the operator's tools, the lake and the workers.

Each command is in a module that is imported only when the command runs, so that `millrace --help` needs neither Faust
nor Spark. `python -m stack` is the same program under its former name.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from config.command_line import Parser, exit_code_lines, run_to_exit_code
from config.environment_file import read_environment_file
from config.errors import UsageError
from config.settings import environment_over, use_environment

VERSION: Final = "0.2.0"


GROUPS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "servers on this machine": {
        "up": ("stack.commands", "start the servers and wait until they are healthy"),
        "down": ("stack.commands", "stop the servers and keep their data"),
        "reset": ("stack.commands", "stop the servers and delete their data"),
        "status": ("stack.commands", "show the servers"),
        "logs": ("stack.commands", "show the output of a server"),
        "env": ("stack.commands", "print or write the settings that reach the servers"),
        "demo": ("demo.command", "run the whole pipeline on real servers, and print a proof"),
    },
    "set up": {
        "dataset": ("ops.dataset.cli", "create, load, generate, simulate and check a dataset"),
        "topics": ("ops.topics", "create and check the topics, and skip records"),
        "connector": (
            "ops.connector.commands",
            "register, watch and remove the Debezium connector; sweep lost deletions",
        ),
        "schemas": ("ops.schemas", "write and check the published JSON Schemas"),
        "warehouse": ("ops.warehouse.commands", "create, show, check and remove a dataset's tables in the warehouse"),
    },
    "run": {
        "worker": ("ops.worker", "run a worker of an application: orders, lookups, archive, warehouse or metrics"),
        "lake": ("ops.lake", "build, read and maintain the lake"),
    },
    "operate": {
        "doctor": ("ops.doctor.command", "look at every server and worker, and say what is wrong and what to do"),
        "dead-letters": ("ops.dead_letters.commands", "list, show and replay dead letters"),
        "locks": ("ops.locks", "list order locks, and release those of a retired deployment"),
    },
    "shell": {
        "completion": ("ops.completion", "print a script that completes commands and options"),
    },
}
"""The commands by purpose: the module whose `add_commands(subparsers)` adds the command to a parser, and a summary."""

MODULES: Final = {name: module for commands in GROUPS.values() for name, (module, _) in commands.items()}


def main(arguments: Sequence[str] | None = None, *, prog: str = "millrace") -> int:
    """Run one command and return its exit code."""
    _escape_what_the_terminal_lacks()
    return run_to_exit_code(lambda: _run(sys.argv[1:] if arguments is None else arguments, prog))


def _escape_what_the_terminal_lacks() -> None:
    """Make standard output escape characters that it cannot encode, because help texts and names contain some."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(arguments: Sequence[str], prog: str) -> int:
    front = _front_parser(prog)
    chosen = front.parse_args(arguments)
    if chosen.command is None:
        front.print_help(sys.stderr)
        return UsageError.exit_code
    if chosen.command not in MODULES:
        near = difflib.get_close_matches(chosen.command, MODULES, n=1)
        front.error(f"unknown command {chosen.command!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    if chosen.env_file is not None:
        _add_settings(chosen.env_file)
    parsed = parser(chosen.command, prog=prog).parse_args([chosen.command, *chosen.rest])
    return int(parsed.run(parsed))


def parser(*names: str, prog: str = "millrace") -> argparse.ArgumentParser:
    """Build the parser of the commands with these names, or of all commands of this installation."""
    root = Parser(prog=prog, description=__doc__)
    subparsers = root.add_subparsers(required=True, metavar="COMMAND")
    for module in dict.fromkeys(MODULES[name] for name in names or MODULES):
        if _is_installed(module):
            importlib.import_module(module).add_commands(subparsers)
        elif names:
            raise UsageError(f"`{prog} {names[0]}` is not part of this installation, as in the container image")
    return root


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package that contains it is missing
        return False


def _front_parser(prog: str) -> Parser:
    """Build the parser of what comes before the command."""
    lines = []
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<14}{summary}" for name, (_, summary) in commands.items()), ""]
    lines += ["exit codes:", *exit_code_lines(), "", f"`{prog} COMMAND --help` describes a command."]
    found = Parser(
        prog=prog,
        usage=f"{prog} [--env-file FILE] COMMAND ...",
        description="Turn a shop's database changes into complete orders, each exactly once, and into a lake.",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--version", action="version", version=f"millrace {VERSION}")
    found.add_argument("--env-file", type=Path, metavar="FILE", help="read settings from a file of lines NAME=value")
    found.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    found.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return found


def _add_settings(file: Path) -> None:
    """Add the settings of a file to the environment; a setting with two different values is an error."""
    own, more = environment_over({}), read_environment_file(file)
    for name, value in more.items():
        if own.get(name, value) != value:
            raise UsageError(f"{file}: {name} is also set in the environment, with another value: unset one of the two")
    use_environment(own | more)


if __name__ == "__main__":
    sys.exit(main())
