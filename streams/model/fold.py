"""The words in which every fold answers: nothing new, kept, something to publish, or a refusal.

A fold is `fold(state, change)`: it alters the state it is given, and nothing else. It answers `UNCHANGED`, `STATE_ONLY`,
`OWNED_ELSEWHERE`, or the thing that is to be published; it raises `Rejected`, before it alters anything, for a change that breaks
a rule. A timer's callback is `callback(state)`, run without a change; it may answer `FORGOTTEN` too.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Rejected(Exception):
    """A change that can be read but breaks a rule: it goes to the dead letters and alters nothing."""


class NoOutput(Struct, gc=False):
    """An answer by which nothing is to be published."""

    meaning: str


UNCHANGED: Final = NoOutput("nothing new in it: a duplicate, or older than what is known")
STATE_ONLY: Final = NoOutput("the state changed, nothing is to be published")

OWNED_ELSEWHERE: Final = NoOutput("the state changed, and another deployment publishes it")
FORGOTTEN: Final = NoOutput("the state is to be deleted")
