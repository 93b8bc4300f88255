"""Life cycle of a partition in this worker: it is opened, run, reopened after failures, and finally closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from aiokafka.errors import KafkaError, ProducerFenced

from streams.model.errors import SinkAwayError
from streams.runtime.partition.host import Host
from streams.runtime.partition.origins import UnknownOriginError
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.queue import BatchesApartError
from streams.runtime.partition.sources import SourceAlteredError, SourceChangedError
from streams.runtime.partition.task import PartitionTask
from streams.runtime.partition.waiting import ClosingError, start_task, unless_closing
from streams.runtime.state.changelog import RestoreProgress
from streams.runtime.stats import RuntimeStats

log = logging.getLogger(__name__)

REOPEN_DELAYS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds to wait before reopening a partition after its first, second, … failure in a row; the last value repeats."""

FENCED_IN_A_ROW: Final = 5
"""Number of consecutive fencings after which the worker stops, because another process seems to own the partition."""

TRANSIENT: Final = (KafkaError, OSError, TimeoutError, BatchesApartError, SinkAwayError, SourceAlteredError)
"""Errors after which the partition is reopened, because an outage can cause them. A `SourceChangedError` stops the
partition only. Any other error means a bug or lost data, and stops the worker."""


UNKNOWN_ORIGIN_DELAY_S: Final = 10.0
"""Seconds to wait before looking again whether a new epoch has begun, once a change of an unknown origin was met."""


class PartitionState(StrEnum):
    """Stages of a partition's life cycle."""

    OPENING = "opening"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPED = "stopped"
    CLOSED = "closed"


class FencedRepeatedlyError(Exception):
    """Another process has repeatedly taken over the partition's transactional id."""


class Partition:
    """A partition that the consumer group has assigned to this worker.

    Attributes:
        name: the pipeline's name and the partition number, as shown in logs and on pages.
        state: the current stage of the life cycle.
        error: the error after which the partition is waiting to be reopened, or is stopped; None otherwise.
        task: the current partition task, or the last one if the partition is waiting or closed.
    """

    def __init__(self, number: int, *, pipeline: Pipeline, host: Host, stats: RuntimeStats) -> None:
        self.number = number
        self.pipeline = pipeline
        self.name = f"{pipeline.name}/{number}"
        self.state = PartitionState.OPENING
        self.error: str | None = None
        self._host = host
        self._stats = stats
        self._closing = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self.task = self._new_task()

    @property
    def progress(self) -> RestoreProgress:
        """Progress of restoring the partition's store from its changelog."""
        return self.task.progress

    def start(self, on_crash: Callable[[BaseException], None]) -> None:
        """Open and run the partition in its own asyncio task, which calls `on_crash` on an unrecoverable error."""
        self._life = start_task(self._live(), name=f"partition-{self.name}", on_crash=on_crash)

    async def close(self, timeout_s: float) -> None:
        """Close the partition; wait up to `timeout_s` seconds for the current turn (micro-batch), then cancel it."""
        self._closing.set()
        if self._life is not None:
            _, pending = await asyncio.wait({self._life}, timeout=timeout_s)
            for task in pending:
                log.warning(
                    "partition %s did not finish its micro-batch within %.1f s; cancelling it", self.name, timeout_s
                )
                task.cancel()
                await asyncio.wait({task})

    def _new_task(self) -> PartitionTask:
        return PartitionTask(
            self.number,
            pipeline=self.pipeline,
            host=self._host,
            stats=self._stats,
            closing=self._closing,
        )

    async def _live(self) -> None:
        try:
            with contextlib.suppress(ClosingError):
                await self._open_again_and_again()
        finally:
            self.state = PartitionState.CLOSED

    async def _open_again_and_again(self) -> None:
        failures = fenced = 0
        while not self._closing.is_set():
            if self.task.is_used:
                self.task = self._new_task()
            try:
                await self._open_and_run()
            except ProducerFenced as error:
                fenced = 1 if self.task.turns else fenced + 1
                await self._after_fencing(error, fenced)
            except SourceChangedError as error:
                await self._stop(error)
            except UnknownOriginError as error:
                self._stats.count("unknown_origin")
                log.error("partition %s does not go on: %s", self.name, error)
                await self._pause(error, UNKNOWN_ORIGIN_DELAY_S)
            except TRANSIENT as error:
                failures = 1 if self.task.turns else failures + 1
                await self._after_failure(error, failures)

    async def _open_and_run(self) -> None:
        self.state = PartitionState.OPENING
        try:
            await unless_closing(self._open(), self._closing)
            self.state, self.error = PartitionState.RUNNING, None
            await self.task.run()
            if not self._closing.is_set():
                self._stats.count("reopened_for_epoch")
                log.warning("partition %s: a request was not answered and repeated; reopening the partition", self.name)
        finally:
            await self.task.close()

    async def _open(self) -> None:
        async with self.pipeline.opening_gate.admitted(lambda: self.number):
            await self.task.open()

    async def _after_fencing(self, error: Exception, in_a_row: int) -> None:
        """Wait until the group confirms that this worker still owns the partition.

        Usually a transaction of this worker has timed out, and the partition can be reopened at once. A worker that
        was paused for longer than the session timeout gets no confirmation; the group then revokes the partition. A
        process outside the group can fence a partition again and again: hence the longer pauses, and the limit.
        """
        self._stats.count("fenced")
        log.warning("partition %s was fenced by another owner, or its transaction timed out", self.name)
        if in_a_row >= FENCED_IN_A_ROW:
            raise FencedRepeatedlyError(
                f"partition {self.name} was fenced {in_a_row} times in a row: "
                "another process uses the same transactional id, or its transactions time out"
            ) from error
        await self._pause(error, self._host.fenced_wait_s if in_a_row > 1 else 0.0)
        await unless_closing(self._host.confirm_ownership(), self._closing)

    async def _after_failure(self, error: Exception, in_a_row: int) -> None:
        self._stats.count("reopened_after_error")
        delay = REOPEN_DELAYS_S[min(in_a_row, len(REOPEN_DELAYS_S)) - 1]
        log.warning("partition %s failed: %r; reopening it in %.1f s", self.name, error, delay)
        await self._pause(error, delay)

    async def _stop(self, error: SourceChangedError) -> None:
        """Leave the partition stopped until the worker closes it, because an operator has to decide how to go on."""
        self._stats.count("stopped")
        self.state, self.error = PartitionState.STOPPED, str(error)
        log.error("partition %s is stopped: %s", self.name, error)
        await self._closing.wait()

    async def _pause(self, error: Exception, seconds: float) -> None:
        self.state, self.error = PartitionState.WAITING, repr(error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
