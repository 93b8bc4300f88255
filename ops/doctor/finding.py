"""What the doctor looks at, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from config.definition import Definition


class State(StrEnum):
    """How a component is.

    WARNING: it works, but somebody should look. WRONG: something does not work, or will not. UNUSED: the dataset does
    not need it, or its settings are not there.
    """

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNUSED = "unused"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the doctor says of a component; the text of a fault ends with what to do."""

    state: State
    text: str


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked at: a dataset, and the settings of the servers."""

    definition: Definition
    environment: Mapping[str, str]


Check = Callable[[Subject], Iterable[Finding]]
"""Looks at a component; an error that it raises is a finding too."""


def ok(text: str) -> Finding:
    """Return a finding without a fault."""
    return Finding(state=State.OK, text=text)


def warning(text: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(state=State.WARNING, text=text)


def wrong(text: str) -> Finding:
    """Return a finding of a fault."""
    return Finding(state=State.WRONG, text=text)


def unused(text: str) -> Finding:
    """Return the finding that a component is not needed."""
    return Finding(state=State.UNUSED, text=text)
