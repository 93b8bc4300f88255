"""Errors that a person can act on."""


class StackError(Exception):
    """A fault that the caller can mend; the message says what to do. It is printed without a traceback."""


class CancelledWorkError(Exception):
    """The work was cancelled because another part of it failed or a person stopped it."""
