"""Search all states of a model, breadth first, for one in which something is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class Found:
    """The result of a search: the number of states, the fault if any, and the steps that lead to it."""

    states: int
    fault: str | None
    story: tuple[str, ...]


def search(
    first: S, successors: Callable[[S], Iterable[tuple[str, S]]], fault_of: Callable[[S, S], str | None]
) -> Found:
    """Visit all states that follow from the first one, until there is a fault.

    Args:
        successors: yields all possible next states of a state, with the names of the steps.
        fault_of: returns what is wrong after the step from the first state to the second one; None if nothing is.
    """
    came: dict[S, tuple[S, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        for step, following in successors(state):
            if following in came:
                continue
            came[following] = state, step
            if (fault := fault_of(state, following)) is not None:
                return Found(len(came), fault, _story(came, following))
            queue.append(following)
    return Found(len(came), None, ())


def _story(came: dict[S, tuple[S, str] | None], state: S) -> tuple[str, ...]:
    steps = []
    while (origin := came[state]) is not None:
        state, step = origin
        steps.append(step)
    return tuple(reversed(steps))
