"""Folds, and their outcomes: nothing new, only the state changed, something to publish, or a rejected change.

A fold is a pure state update, `fold(state, change)`: it alters the given state and nothing else. It returns
`UNCHANGED`, `STATE_ONLY`, `OWNED_ELSEWHERE` or the object to publish. If the change breaks a rule, the fold raises
`Rejected` before it alters anything. A timer's callback is `callback(state)`; it has no change, and may also return
`FORGOTTEN`.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Rejected(Exception):
    """A readable change that breaks a rule: it becomes a dead letter and alters nothing."""


class NoOutput(Struct, gc=False):
    """An outcome that publishes nothing."""

    meaning: str


UNCHANGED: Final = NoOutput("the change is a duplicate, or older than the known state")
STATE_ONLY: Final = NoOutput("the state changed, but nothing is to be published")

OWNED_ELSEWHERE: Final = NoOutput("the state changed, and another deployment publishes it")
FORGOTTEN: Final = NoOutput("the state is to be deleted")
