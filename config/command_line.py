"""What all programs share at the command line: one-line errors, and one table of exit codes."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from config import parsing
from config.errors import OperatorError

Value = TypeVar("Value")

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "done; for a check: everything agrees",
    1: "failed, or a check found a difference",
    2: "wrong usage or settings; `dataset`: the command could not run; `lake reconcile`: the lake is behind",
    3: "`lake reconcile`: the comparison failed",
    130: "interrupted",
}
INTERRUPTED: Final = 130


class _StoreOnce(argparse.Action):
    """Stores the value of an option that may be given only once, instead of letting the last one win silently."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        given = vars(namespace).setdefault("_given", set())
        if option_string is not None and self.dest in given:
            raise argparse.ArgumentError(self, "is given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line with a hint, and exits with code 2."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.register("action", None, _StoreOnce)
        self.register("action", "store", _StoreOnce)

    def error(self, message: str) -> NoReturn:
        """Print the fault in one line; `argparse` also prints the usage, which can be longer than the screen."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def run_to_exit_code(run: Callable[[], int], *, when_interrupted: str = "interrupted") -> int:
    """Run a command and return its exit code; report an error that the operator can act on in one line."""
    try:
        try:
            return run()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, because at the interpreter's end an error is printed by itself
    except OperatorError as error:
        print(str(error) or when_interrupted, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(when_interrupted, file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output has exited, as in `logs | head`
        _drop_output()
        return 1
    except OSError as error:
        print(f"{error.filename or 'system'}: {error.strerror or error}", file=sys.stderr)
        _drop_output()
        return 1


def _drop_output() -> None:
    """Discard output that could not be written, so that the interpreter does not report it again when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError), Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def argument(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Make a parser from `config.parsing` usable as the `type` of an argument, so that its error message is printed."""

    def parse_argument(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:  # of which argparse would drop the message
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


def add_metrics_option(parser: argparse.ArgumentParser, *, condition: str = "") -> None:
    """Add the option `--metrics`, for a program that can serve metrics for Prometheus."""
    text = f"{condition}serve metrics for Prometheus here (default: nowhere)"
    parser.add_argument("--metrics", type=argument(parsing.host_and_port), metavar="HOST:PORT", help=text)


def exit_code_lines() -> list[str]:
    """Return the table of exit codes as lines for a help text."""
    return [f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items()]
