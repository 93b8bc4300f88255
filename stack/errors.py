"""Errors of the commands: faults that the user can fix, and cancellation."""


class StackError(Exception):
    """A fault that the user can fix; the message, printed without a traceback, says how."""


class CancelledWorkError(Exception):
    """The work was cancelled because another part of it failed or the user stopped it."""
