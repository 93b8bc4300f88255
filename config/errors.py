"""Errors that the person at the command line can act on: each program prints the message without a traceback."""

from __future__ import annotations

from typing import ClassVar


class OperatorError(Exception):
    """An error whose message says what is wrong, with which value, and what to do.

    Attributes:
        exit_code: the exit code of a program that ends with this error.
    """

    exit_code: ClassVar[int] = 1


class UsageError(OperatorError):
    """The command line, the settings or a file given with them is wrong; nothing was tried."""

    exit_code = 2
