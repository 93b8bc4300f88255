"""The life of one partition in this worker: reopen, then turn after turn, until it is closed or something fails.

Reopening is the only way into processing. It runs on every assignment, also of a partition that was here before, and
after every error or unknown outcome:

    a. a new committer fences every former owner (Kafka aborts what they had open);
    b. the changelog's tail is replayed into the store, from the record after the last one it contains;
    c. the committed offsets are read, and the consumer is told to seek to them;
    d. the application is ready.

A turn takes the batches that wait, of all source topics of the partition, and runs these steps:

    1. check that each batch begins where this partition stands in its topic, else drop it;
    2. fold its changes in memory (`turn.py`);
    3. let the application decide what is published; waiting is allowed, no transaction is open;
    4. one transaction: changelog, outputs, dead letters, source offsets;
    5. write the states and the changelog offset to the store: local state is never ahead of the log;
    6. account for it and let the application know.

Steps 4 and 5 are not interrupted. When one fails, the outcome is unknown here, so the partition is reopened.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError, ProducerFenced

from streams.runtime.batch import Batch, Fold, OutputRecord
from streams.runtime.changelog import INCARNATION_KEY, RestoreProgress, WriteFirst
from streams.runtime.committer import Committer
from streams.runtime.flow import Flow
from streams.runtime.stats import RuntimeStats
from streams.runtime.store import PartitionStore
from streams.runtime.table import BatchTable
from streams.runtime.turn import Turn

log = logging.getLogger(__name__)

REOPEN_DELAYS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Pauses before another try to reopen; the last one repeats."""

OPEN_TIMEOUT_S: Final = 60.0
"""Bound of fencing and of reading offsets, each. Restoring the state has no bound, only visible progress."""

FENCED_IN_A_ROW: Final = 5
"""Two live owners of one partition are a fault of the deployment: give up after so many."""

TRANSIENT = (KafkaError, OSError, TimeoutError)
"""What a broker or network outage raises; everything else is a programmer's error and ends the worker."""


class PartitionState(StrEnum):
    """Where a partition is in its life."""

    OPENING = "opening"
    RESTORING = "restoring"
    RUNNING = "running"
    WAITING = "waiting"
    CLOSED = "closed"


class StateLostError(Exception):
    """The changelog was emptied or made anew behind the group's back; going on would lose or repeat orders."""


class FencedRepeatedlyError(Exception):
    """The partition's transactional id keeps being taken by another process."""


class PartitionHost(Protocol):
    """What a partition asks of the worker around it."""

    @property
    def turn_max_records(self) -> int: ...
    @property
    def fenced_wait_s(self) -> float: ...
    @property
    def changelog_topic(self) -> str: ...
    def new_committer(self, partition: int) -> Committer: ...
    async def restore(
        self, partition: int, store: PartitionStore, progress: RestoreProgress, write_first: WriteFirst
    ) -> None: ...
    async def seek(self, partition: int, offsets: Mapping[str, int | None]) -> Mapping[str, int]: ...
    def on_committed(self, partition: int, offsets: Mapping[str, int]) -> None: ...
    def on_room(self) -> None: ...


class Partition:
    """One partition number of the co-partitioned source topics, its state and its committer."""

    def __init__(
        self,
        number: int,
        *,
        host: PartitionHost,
        table: BatchTable,
        flow: Flow,
        stats: RuntimeStats,
        max_waiting_bytes: int,
    ) -> None:
        self.number = number
        self.state = PartitionState.OPENING
        self.progress = RestoreProgress()
        self.next_offsets: dict[str, int] = {}
        self.error: str | None = None
        self.entry: PartitionEntry | None = None
        self._turns = 0
        self._host = host
        self._table = table
        self._flow = flow
        self._stats = stats
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[tuple[Batch, Fold]] = deque()
        self._polled_bytes = 0
        self._work = asyncio.Event()
        self._closing = asyncio.Event()
        self._committer: Committer | None = None
        self._store: PartitionStore | None = None
        self._life: asyncio.Task[None] | None = None

    # -- what the consumer and the agents see -------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether another poll for this partition is welcome."""
        return self._polled_bytes < self._max_waiting_bytes

    def polled(self, batch: Batch) -> None:
        """Account for a batch on its way through Faust to `accept`."""
        self._polled_bytes += batch.size_bytes

    async def accept(self, entry: PartitionEntry, batch: Batch, fold: Fold) -> int:
        """Queue a batch for the next turn; one of an earlier opening is dropped, its records are polled again."""
        if entry is self.entry:
            self._waiting.append((batch, fold))
            self._work.set()
        else:
            self._stats.count("stale_batches")
        return len(batch)

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self, on_crash: Callable[[BaseException], None]) -> None:
        """Begin the partition's life in a task of its own; `on_crash` hears of an error that has no remedy here."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                on_crash(error)

        self._life = asyncio.create_task(self._live(), name=f"partition-{self.number}")
        self._life.add_done_callback(ended)

    async def close(self, timeout_s: float) -> None:
        """End the partition: a transaction under way is finished first, if it can be within `timeout_s`."""
        self._closing.set()
        self._work.set()
        if self._life is not None:
            _, pending = await asyncio.wait({self._life}, timeout=timeout_s)
            for task in pending:
                log.warning("partition %d did not end its turn within %.1f s", self.number, timeout_s)
                task.cancel()
                await asyncio.wait({task})

    async def _live(self) -> None:
        try:
            with contextlib.suppress(_ClosingError):
                await self._open_and_run_for_good()
        finally:
            self.state = PartitionState.CLOSED

    async def _open_and_run_for_good(self) -> None:
        failures = fenced = 0
        while not self._closing.is_set():
            turns_before = self._turns
            try:
                await self._open_and_run()
            except ProducerFenced as error:
                fenced = fenced + 1 if self._turns == turns_before else 1
                await self._after_fencing(error, fenced)
            except TRANSIENT as error:
                failures = failures + 1 if self._turns == turns_before else 1
                await self._after_failure(error, failures)

    async def _open_and_run(self) -> None:
        try:
            await self._unless_closing(self._reopen())
            self.error = None
            await self._run()
        finally:
            await self._let_go()

    async def _after_fencing(self, error: Exception, in_a_row: int) -> None:
        """Another process owns the partition now: the group tells within its session timeout, else try again."""
        self._stats.count("fenced")
        log.warning("partition %d was fenced by another owner; waiting for the group's decision", self.number)
        if in_a_row >= FENCED_IN_A_ROW:
            raise FencedRepeatedlyError(f"partition {self.number} was fenced {in_a_row} times in a row") from error
        await self._pause(error, self._host.fenced_wait_s)

    async def _after_failure(self, error: Exception, in_a_row: int) -> None:
        self._stats.count("reopened_after_error")
        delay = REOPEN_DELAYS_S[min(in_a_row, len(REOPEN_DELAYS_S)) - 1]
        log.warning("partition %d: %r; reopening in %.1f s", self.number, error, delay)
        await self._pause(error, delay)

    async def _pause(self, error: Exception, seconds: float) -> None:
        self.state, self.error = PartitionState.WAITING, repr(error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _let_go(self) -> None:
        """Drop everything of this opening: queued batches, the store's handle, the producer."""
        self.entry = None
        self._waiting.clear()
        self._polled_bytes = 0
        self._store = None
        self._table.stores.close_partition(self.number)
        committer, self._committer = self._committer, None
        if committer is not None:
            await _finish(committer.close())

    async def _unless_closing(self, step: Any) -> Any:
        """Await `step`, but give it up as soon as the partition is to close."""
        task = asyncio.ensure_future(step)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _ClosingError
            return task.result()
        finally:
            closing.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    # -- reopen -------------------------------------------------------------------------------------------------------

    async def _reopen(self) -> None:
        began = time.monotonic()
        self.state = PartitionState.OPENING
        self._committer = committer = self._host.new_committer(self.number)
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await committer.open()  # a.
        self.state, self.progress = PartitionState.RESTORING, RestoreProgress()
        await self._restore(committer)  # b.
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            committed = await committer.committed()
        self._refuse_lost_state(committed)
        await self._flow.ready()  # d., before records arrive
        self.entry = PartitionEntry(self)
        self.next_offsets = dict(await self._host.seek(self.number, committed))  # c.
        self._table.stores.set_readable(self.number)
        self.state = PartitionState.RUNNING
        self._stats.count("opened")
        self._stats.count("restored_records", self.progress.records)
        log.info(
            "partition %d is open after %.2f s: %d records restored, goes on at %s",
            self.number,
            time.monotonic() - began,
            self.progress.records,
            self.next_offsets,
        )

    async def _restore(self, committer: Committer) -> None:
        async def write_first(incarnation: bytes) -> None:
            await committer.commit([OutputRecord(self._host.changelog_topic, INCARNATION_KEY, incarnation)], {})

        self._store = self._table.stores.open_partition(self.number)
        await self._host.restore(self.number, self._store, self.progress, write_first)

    def _refuse_lost_state(self, committed: Mapping[str, int | None]) -> None:
        """An empty changelog under a group that has processed records means that what it knew is gone."""
        if self.progress.is_new and any(offset for offset in committed.values()):
            raise StateLostError(
                f"the changelog of partition {self.number} is empty, but its group has committed {dict(committed)}: "
                f"restore topic {self._host.changelog_topic}, or begin anew under another application id"
            )

    # -- turns --------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._closing.is_set():
            if not self._waiting:
                self._work.clear()
                await self._work.wait()
                continue
            await self._turn(self._take())

    def _take(self) -> list[tuple[Batch, Fold]]:
        """The batches of the next turn: those that wait, up to the size of a turn."""
        taken: list[tuple[Batch, Fold]] = []
        records = 0
        while self._waiting and records < self._host.turn_max_records:
            batch, fold = self._waiting.popleft()
            self._polled_bytes -= batch.size_bytes
            records += len(batch)
            if self._is_next(batch):  # step 1
                self.next_offsets[batch.topic] = batch.next_offset
                taken.append((batch, fold))
            else:
                self._stats.count("stale_batches")
        self._host.on_room()
        return taken

    def _is_next(self, batch: Batch) -> bool:
        return batch.from_offset == self.next_offsets.get(batch.topic)

    async def _turn(self, batches: Sequence[tuple[Batch, Fold]]) -> None:
        if not batches:
            return
        began = time.monotonic()
        assert self._store is not None
        turn = Turn(self._store.get, self._table.codec, self._flow.dead_letter)
        turn.fold(batches)  # step 2
        outputs = await self._unless_closing(self._flow.publish(turn.outcomes, self.number))  # step 3
        offsets = {batch.topic: batch.next_offset for batch, _ in batches}
        await _finish(self._commit(turn, outputs, offsets))  # steps 4 and 5
        self._turns += 1
        self._account(turn, outputs, batches, began)  # step 6
        self._host.on_committed(self.number, offsets)

    async def _commit(self, turn: Turn, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> None:
        assert self._committer is not None
        assert self._store is not None
        states = turn.encoded_states()
        changelog = self._host.changelog_topic
        changes = [OutputRecord(changelog, key, state) for key, state in states]
        written = await self._committer.commit([*changes, *outputs, *turn.dead_letters], offsets)  # step 4
        if states:
            self._store.write(states, written[changelog])  # step 5

    def _account(
        self, turn: Turn, outputs: Sequence[OutputRecord], batches: Sequence[tuple[Batch, Fold]], began: float
    ) -> None:
        self._stats.turn_done(
            records=sum(len(batch) for batch, _ in batches),
            outputs=len(outputs),
            dead_letters=len(turn.dead_letters),
            seconds=time.monotonic() - began,
            fates=turn.counts,
        )
        self._flow.committed(turn.outcomes)


class PartitionEntry:
    """One opening of a partition: the owner of the batches that are polled for it."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition

    @property
    def is_open(self) -> bool:
        """Whether the partition has not been reopened or closed since."""
        return self.partition.entry is self

    async def accept(self, batch: Batch, fold: Fold) -> int:
        """Hand a batch to the partition, which drops it if it was reopened meanwhile."""
        return await self.partition.accept(self, batch, fold)


class _ClosingError(Exception):
    """Ends a wait because the partition is to close."""


async def _finish(step: Any) -> None:
    """Await `step` to its end even when the waiting task is cancelled meanwhile, then pass the cancellation on."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
