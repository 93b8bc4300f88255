"""What all programs share at the command line: one-line errors, and one table of exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final, NoReturn

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


def exit_code_lines() -> list[str]:
    """Return the table of exit codes as lines for a help text."""
    return [f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items()]
