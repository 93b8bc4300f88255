"""One round: who may take part, what each partition commits, and when its transaction begins and the round is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aiokafka.errors import KafkaError

from streams.runtime.partition.gate import SLOT_S
from streams.runtime.partition.transaction import Part

JOIN_S: Final = 0.1
"""Time after which a round no longer waits for a turn, which may be waiting for the lock guard or a look-up."""


class RoundLostError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """It is not known whether the transaction of a round was committed."""


class Shared(NamedTuple):
    """The outcome of a turn that was committed in a round.

    Attributes:
        written: last offset written to each output topic.
        is_repeated: whether a request of the transaction was not answered and sent again.
    """

    written: Mapping[str, int]
    is_repeated: bool


class Round:
    """A round: the partitions that may take part, and what each of them commits.

    Args:
        name: the shared id.
        partitions: those that were admitted together.
        begin: called when all of them have joined or left, or when it is time.
        over: called when the transaction has ended, and all of them have left or it is time.

    Attributes:
        parts: what the partitions commit that have joined.
    """

    def __init__(
        self,
        name: str | None,
        partitions: set[int],
        *,
        begin: Callable[[Round], None],
        over: Callable[[Round], None],
    ) -> None:
        self.name = name
        self.parts: dict[int, Part] = {}
        self._expected = partitions
        self._begin = begin
        self._over: Callable[[Round], None] | None = over
        self._has_begun = self._is_decided = False
        self._outcomes: dict[int, asyncio.Future[Shared | None]] = {}
        self._timer = asyncio.get_running_loop().call_later(JOIN_S, self._start)

    async def joined(self, part: Part) -> Shared | None:
        """Commit with the others; return None if the round has begun or was given up."""
        if self._has_begun or part.partition not in self._expected:
            return None
        outcome: asyncio.Future[Shared | None] = asyncio.get_running_loop().create_future()
        self._outcomes[part.partition] = outcome
        self.parts[part.partition] = part
        self._start_if_ready()
        return await outcome

    def leave(self, partition: int) -> None:
        """Wait for a partition no more, because its turn is over or it commits by itself."""
        self._expected.discard(partition)
        if not self._has_begun:
            if self.parts.pop(partition, None) is not None:
                self._outcomes.pop(partition).cancel()
            self._start_if_ready()
        elif self._is_decided and not self._expected:
            self._end()

    def _start_if_ready(self) -> None:
        if self._expected <= self.parts.keys():
            self._start()

    def _start(self) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        self._timer.cancel()
        self._expected &= self.parts.keys()  # the others are too late, and are not waited for
        if self.parts:
            self._begin(self)
        else:
            self._end()

    def decide(self, outcomes: Mapping[int, Shared] | None) -> None:
        """End the round with the outcomes of its turns; None if it was given up."""
        for partition, waiting in self._outcomes.items():
            if not waiting.done():
                waiting.set_result(None if outcomes is None else outcomes[partition])
        self._decided()

    def fail(self, error: BaseException) -> None:
        """End the round with an error for all of its turns."""
        for waiting in self._outcomes.values():
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # nobody may be waiting any more
        self._decided()

    def _decided(self) -> None:
        self._is_decided = True
        if self._expected:
            self._timer = asyncio.get_running_loop().call_later(SLOT_S, self._end)
        else:
            self._end()

    def _end(self) -> None:
        over, self._over = self._over, None
        self._timer.cancel()
        if over is not None:
            over(self)
