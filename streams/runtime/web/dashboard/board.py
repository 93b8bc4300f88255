"""What all workers of an application say of themselves, asked in parallel by the worker that shows the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
from yarl import URL

ANSWER_S: Final = 1.0
"""How long another worker may take to answer; the page does not wait for it any longer."""

FRESH_S: Final = 0.9
"""Time for which an answer is shown again instead of asking anew: many viewers cost as much as one."""

MOST_GONE: Final = 10
REMEMBERED_S: Final = 3_600.0
"""Number of workers that left, and time for which they are still shown."""

Snapshot = Mapping[str, Any]


class Workers(Protocol):
    """The other workers of the application."""

    def addresses(self) -> Sequence[URL]:
        """Return the addresses that should answer: the members of the consumer group, this worker's included."""

    async def ask(self, address: URL) -> bytes:
        """Return a worker's snapshot as JSON; raise OSError or TimeoutError if it does not answer."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A worker as the page shows it.

    Attributes:
        snapshot: what it says of itself; None if it does not answer.
        answered_at: Unix time of its last answer; None if it has never answered.
        is_member: whether it should answer, because it belongs to the consumer group or is named in the settings.
        fault: why there is no snapshot.
    """

    name: str
    snapshot: Snapshot | None
    answered_at: float | None
    is_member: bool = True
    fault: str = ""

    @property
    def app(self) -> str | None:
        """The application that it belongs to; None if it has not said so."""
        return None if self.snapshot is None else self.snapshot["stats"].get("app")


class Board:
    """The workers as of the last look.

    Args:
        own: returns this worker's snapshot.
        address: this worker's address.
    """

    def __init__(self, workers: Workers, own: Callable[[], Awaitable[Snapshot]], address: URL) -> None:
        self._workers = workers
        self._own = own
        self._address = address
        self._answered_at: dict[str, float] = {}
        self._left_at: dict[str, float] = {}
        self._seen: list[Seen] = []
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def look(self) -> list[Seen]:
        """Return all workers, this one first; ask the others unless that was done a moment ago."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= FRESH_S:
                own, others = _name(self._address), {_name(a): a for a in self._workers.addresses()}
                others.pop(own, None)
                answers = await asyncio.gather(*[self._ask(name, address) for name, address in others.items()])
                mine = Seen(name=own, snapshot=await self._own(), answered_at=time.time())
                self._seen = [mine, *sorted(answers, key=lambda seen: seen.name), *self._gone({own, *others})]
                self._looked_at = time.monotonic()
            return self._seen

    async def _ask(self, name: str, address: URL) -> Seen:
        try:
            async with asyncio.timeout(ANSWER_S):
                snapshot = msgspec.json.decode(await self._workers.ask(address))
            if not isinstance(snapshot, dict) or not isinstance(snapshot.get("stats"), dict):
                raise ValueError("no snapshot of a worker")
        except (OSError, TimeoutError, ValueError, msgspec.DecodeError) as error:
            why = "no answer within 1 s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            return Seen(name=name, snapshot=None, answered_at=self._answered_at.get(name), fault=why[:200])
        self._answered_at[name] = time.time()
        self._left_at.pop(name, None)
        return Seen(name=name, snapshot=snapshot, answered_at=self._answered_at[name])

    def _gone(self, members: set[str]) -> list[Seen]:
        """Return the workers that have answered once, and are no members any more, for an hour."""
        now = time.time()
        for name in self._answered_at.keys() - members:
            self._left_at.setdefault(name, now)
        kept = sorted(self._left_at, key=lambda name: -self._left_at[name])[:MOST_GONE]
        for name in self._left_at.keys() - {n for n in kept if now - self._left_at[n] < REMEMBERED_S}:
            del self._left_at[name]
            self._answered_at.pop(name, None)
        return [
            Seen(name=name, snapshot=None, answered_at=self._answered_at[name], is_member=False, fault="left the group")
            for name in sorted(self._left_at)
        ]


def _name(address: URL) -> str:
    return f"{address.host}:{address.port}"
