"""A standby keeps a local copy of the state of a partition that another worker owns.

If that worker stops, the consumer group assigns the partition to a worker with a standby, which then only has to replay
the last records of the changelog. A standby never writes to Kafka, and web views never read from it.

A standby is only a copy, so a copy that fails must not cost the worker the partitions that it processes. The standby is
dropped until the next rebalance, and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka.errors import KafkaError

from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.waiting import start_task
from streams.runtime.state.changelog import RestoreProgress
from streams.runtime.state.store import PartitionStore
from streams.runtime.stats import RuntimeStats

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0

Follow = Callable[[Pipeline, int, PartitionStore, RestoreProgress], Awaitable[None]]


class Standby:
    """A local copy of one partition's state, kept up to date from the partition's changelog.

    Attributes:
        progress: how far the copy lags behind the changelog.
        error: the error after which the standby was dropped; None if it is being kept.
    """

    def __init__(self, number: int, *, pipeline: Pipeline, follow: Follow, stats: RuntimeStats) -> None:
        assert pipeline.table is not None, "a stateless pipeline cannot have standbys"
        self.number = number
        self.name = f"{pipeline.name}/{number}"
        self.progress = RestoreProgress()
        self.error: str | None = None
        self._stats = stats
        self._pipeline = pipeline
        self._stores = pipeline.table.stores
        self._follow = follow
        self._task: asyncio.Task[None] | None = None

    def start(self, on_crash: Callable[[BaseException], None]) -> None:
        """Follow the changelog in a new asyncio task, which calls `on_crash` on an unrecoverable error."""
        self._task = start_task(self._live(), name=f"standby-{self.name}", on_crash=on_crash)

    async def close(self) -> None:
        """Stop following the changelog and close the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _live(self) -> None:
        try:
            await self._keep()
        except Exception as error:  # whatever it is: a full disk, a damaged changelog, a state that cannot be decoded
            self.error = repr(error)
            self._stats.count("standbys_dropped")
            log.exception("standby %s failed and is dropped until the next rebalance", self.name)

    async def _keep(self) -> None:
        try:
            store = await self._stores.open_partition(self.number)
            while True:
                try:
                    await self._follow(self._pipeline, self.number, store, self.progress)
                except (KafkaError, OSError) as error:
                    log.warning("standby %s failed: %r; retrying in %.0f s", self.name, error, RETRY_S)
                    await asyncio.sleep(RETRY_S)
        finally:
            await self._stores.close_partition(self.number)
