"""Errors that a person can act on."""


class StackError(Exception):
    """Something the caller can mend; the message names it and says what to do. Shown without a traceback."""


class CancelledWorkError(Exception):
    """The work is to end because another part of it failed or a person stopped it."""
