"""Outcomes of folds and timer callbacks, the functions that update a state.

A fold, `fold(state, change)`, applies a change to the given state and has no other side effects. It returns the object
to publish, or `UNCHANGED`, `STATE_ONLY`, `OWNED_ELSEWHERE` or `AFTER_RETENTION` if there is nothing to publish. If the
change breaks a rule, the fold raises `Rejected` before it modifies the state. A timer callback, `callback(state)`,
takes no change and may also return `FORGOTTEN`.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Rejected(Exception):
    """Error raised when a change breaks a rule; the change becomes a dead letter, and the state is not modified."""


class NoOutput(Struct, gc=False):
    """Outcome of a fold or timer callback that publishes nothing, with a description of its meaning."""

    meaning: str


UNCHANGED: Final = NoOutput("the change is a duplicate, or older than the state")
STATE_ONLY: Final = NoOutput("the state changed, but there is nothing to publish")

OWNED_ELSEWHERE: Final = NoOutput("the state changed, but another deployment publishes the order")
AFTER_RETENTION: Final = NoOutput("the order was published and is forgotten, so the change is ignored")
FORGOTTEN: Final = NoOutput("the state must be deleted")
