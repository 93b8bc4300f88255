"""Exceptions of the commands: errors that the user can fix, and cancellation."""


class StackError(Exception):
    """An error that the user can fix; its message says how, and is printed without a traceback."""


class CancelledWorkError(Exception):
    """Raised when work is cancelled because the user stopped it or a parallel step failed."""
