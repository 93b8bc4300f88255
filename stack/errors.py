"""Exceptions of the commands: errors that the user can fix, and cancellation."""

from __future__ import annotations

from config.command_line import INTERRUPTED
from config.errors import OperatorError, UsageError


class StackError(OperatorError):
    """An error that the user can fix; its message says how, and is printed without a traceback."""


class NoSuchStackError(StackError, UsageError):
    """There is no local stack of the name that was given."""


class WrongPortsError(StackError, UsageError):
    """The ports that were given cannot be used."""


class CancelledWorkError(OperatorError):
    """Raised when work is cancelled because the user stopped it or a parallel step failed."""

    exit_code = INTERRUPTED
