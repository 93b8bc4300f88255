"""The outcomes of folds: nothing new, only the state changed, something to publish, or a rejected change.

A fold is `fold(state, change)`: it alters the given state and nothing else. It returns `UNCHANGED`, `STATE_ONLY`,
`OWNED_ELSEWHERE` or the object to publish. For a change that breaks a rule it raises `Rejected` before it alters
anything. A timer's callback is `callback(state)`, without a change; it may also return `FORGOTTEN`.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Rejected(Exception):
    """A readable change that breaks a rule: it becomes a dead letter and alters nothing."""


class NoOutput(Struct, gc=False):
    """An outcome without anything to publish."""

    meaning: str


UNCHANGED: Final = NoOutput("nothing new in it: a duplicate, or older than what is known")
STATE_ONLY: Final = NoOutput("the state changed, nothing is to be published")

OWNED_ELSEWHERE: Final = NoOutput("the state changed, and another deployment publishes it")
FORGOTTEN: Final = NoOutput("the state is to be deleted")
