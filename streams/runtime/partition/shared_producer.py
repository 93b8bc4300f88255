"""A worker's shared id and its producer, which are replaced by others whenever they are given up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from typing import Final

from aiokafka.errors import KafkaError

from streams.runtime.partition.producer import PartitionProducer
from streams.runtime.partition.shared_ids import SharedIds, stopped

log = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 30.0
RENEWAL_PAUSE_S: Final = 1.0
"""Pause before another id is begun, so that one that is fenced again and again does not cost more than it saves."""


class SharedProducer:
    """Begins a shared id in the background; after `give_up`, ends it and begins another one.

    Attributes:
        producer: the producer of the newest id.
        name: the id that may be used; None while there is none.
        made_up: the newest id, whether it may be used or not.
    """

    producer: PartitionProducer

    def __init__(self, ids: SharedIds) -> None:
        self.name: str | None = None
        self.made_up = ""
        self._ids = ids
        self._life = asyncio.create_task(self._begin(), name="begin-shared-id")

    def give_up(self, *, after: Collection[asyncio.Task[None]]) -> None:
        """Use the id no more. Once some tasks have ended that use it, end it, then begin another one."""
        assert self.name is not None
        name, self.name = self.name, None
        self._life = asyncio.create_task(self._replace(name, after), name="replace-shared-id")

    async def _replace(self, name: str, after: Collection[asyncio.Task[None]]) -> None:
        if after:
            await asyncio.wait(after)
        await stopped(self.producer)
        await asyncio.sleep(RENEWAL_PAUSE_S)
        while True:
            try:
                await self._ids.end(name)
                break
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("cannot end the shared id %s: %r", name, error)
                await asyncio.sleep(RENEWAL_PAUSE_S)
        await self._begin()

    async def _begin(self) -> None:
        while True:
            self.made_up = self._ids.made_up()
            self.producer = self._ids.new_producer(self.made_up)
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await self.producer.initialise()
                break
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("cannot begin the shared id %s: %r", self.made_up, error)
                await stopped(self.producer)
                await asyncio.sleep(RENEWAL_PAUSE_S)
        self.name = self.made_up
        log.info("partitions may share the transactional id %s", self.name)

    async def close(self) -> None:
        """Stop what is under way; an open transaction is left to those who open the partitions."""
        self.name = None
        self._life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life
        if self.made_up:
            await stopped(self.producer)
