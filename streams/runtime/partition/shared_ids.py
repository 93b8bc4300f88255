"""Transactional ids that several partitions of a worker share, and what makes them as safe as a partition's own id.

An own id fences by itself: whoever opens the partition initialises it, and no former owner can end a transaction any
more. A shared id is not known to the next owner, so these rules replace that (docs/decisions/0030-shared-transactions):

- A shared id is made up by one process, initialised once, and never again by it. So an id that any other producer has
  initialised since is over for good: it has no open transaction, and no decision whose markers are still to be written.
- A partition takes part in transactions of a shared id only after a transaction of its own id has written the name to
  its changelog. A worker that has lost its own id therefore cannot begin with a new shared one.
- Who opens a partition initialises its own id, then reads the name, then ends that id (`SharedIds.end`), and reads the
  changelog again, from where it was, unless the id was over before it began to read.
- A worker ends the shared id that it gives up before it names the next one, because the changelog keeps one name only.

The name is in the changelog, not beside the committed offsets, so that a reset of the group's offsets does not lose it.
A control record with the id of an invented source topic carries it, which workers of former releases keep and ignore.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import KafkaError

from streams.runtime.partition.producer import PartitionProducer

log = logging.getLogger(__name__)

SHARED_ID: Final = "shared transactional id"
"""Name of the invented source topic. Kafka has no topics with spaces in their names."""

END_TIMEOUT_S: Final = 60.0


class SharedIds:
    """The shared ids that are over, as far as this process has ended them.

    Args:
        new_producer: makes a producer with a given id.
        prefix: returns the beginning of the ids that this worker makes up.
    """

    def __init__(self, new_producer: Callable[[str], PartitionProducer], prefix: Callable[[], str]) -> None:
        self.new_producer = new_producer
        self._prefix = prefix
        self._over: set[str] = set()
        self._ending: dict[str, asyncio.Task[None]] = {}

    def made_up(self) -> str:
        """Return an id that nobody has used."""
        return f"{self._prefix()}-shared-{uuid.uuid4()}"

    async def end(self, name: str) -> None:
        """Initialise a shared id: Kafka aborts its open transaction, and completes one that is decided.

        Raises:
            KafkaError, OSError, TimeoutError: Kafka is unavailable, or a partition of the transaction has no leader.
        """
        if name in self._over:
            return
        if name not in self._ending:
            self._ending[name] = task = asyncio.create_task(self._end(name), name=f"end-{name}")
            task.add_done_callback(self._forget_ending)
        await asyncio.shield(self._ending[name])

    def _forget_ending(self, ended: asyncio.Task[None]) -> None:
        self._ending = {name: task for name, task in self._ending.items() if task is not ended}
        if not ended.cancelled():
            ended.exception()  # those who wait for it report it

    async def _end(self, name: str) -> None:
        producer = self.new_producer(name)
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await producer.initialise()
        finally:
            await stopped(producer)
        self._over.add(name)
        log.info("transactions of the shared id %s are over", name)


async def stopped(producer: Any) -> None:
    """Stop a producer, whatever state it is in."""
    try:
        await producer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.info("a producer did not close cleanly: %r", error)
