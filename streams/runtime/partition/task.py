"""A partition task opens one partition, then processes it in turns; a turn is one micro-batch and one transaction.

Every assignment of a partition starts a new task, even on the same worker, and so does every error and every unknown
outcome. A task uses nothing of an earlier task. To open its partition, a task takes these steps:

    a. a new committer fences every former owner (Kafka aborts their open transactions);
    b. the changelog is replayed into the store, from the record after the last one that the store contains; an empty
       changelog gets its first record, unless the group has committed offsets: then a state was lost, which is fatal;
    c. the committed offsets are read;
    d. the application gets ready and receives the recent states;
    e. the consumer seeks to the committed offsets and polls for this task.

A turn takes the waiting batches of all source topics of the partition and runs these steps:

    1. check that each batch starts where the previous one of its topic ended; after a gap, a new task is needed;
    2. fold its changes in memory (`turn.py`), or run the callbacks of the timers that are due;
    3. let the application decide what to publish; it may wait, because no transaction is open;
    4. commit changelog, outputs, dead letters and source offsets in one transaction;
    5. write states, timers and changelog offset to the store: local state is never ahead of the changelog;
    6. count the turn and notify the application.

Steps 4 and 5 are not interrupted. If one fails, this task does not know the outcome, and only a new task resolves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from streams.runtime.partition.batch import Fold, OutputRecord, RecordBatch
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.processor import PartitionView
from streams.runtime.partition.queue import BatchQueue
from streams.runtime.partition.turn import Turn
from streams.runtime.partition.view import StatelessPartitionView, StoredPartitionView
from streams.runtime.partition.waiting import finish, unless_closing
from streams.runtime.state.changelog import INCARNATION_KEY, RestoreProgress, WriteFirst
from streams.runtime.state.codec import STATELESS
from streams.runtime.state.store import Entry, PartitionStore, StoreWriteError
from streams.runtime.stats import RuntimeStats

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 60.0
"""Longest time for fencing, and for reading committed offsets. A restoration has no limit; its progress is visible."""


GATHER_S: Final = 0.001
"""Pause between the first batch after a lull and its turn. The changes of an order's row and of its lines arrive as two
batches at almost the same time. In one turn they cost one transaction; in two turns they cost two, and the second batch
waits for the first."""


TIMER_INTERVAL_S: Final = 1.0
"""Interval between two checks of the sink and of the timers."""


class StateLostError(Exception):
    """The changelog was emptied or recreated although its group has committed offsets; orders would be lost."""


class Host(Protocol):
    """Interface through which a partition task uses the worker around it."""

    @property
    def turn_max_records(self) -> int: ...
    @property
    def waiting_max_bytes(self) -> int: ...
    @property
    def fenced_wait_s(self) -> float: ...
    @property
    def commit_timeout_s(self) -> float: ...
    async def restore(
        self,
        pipeline: Pipeline,
        partition: int,
        store: PartitionStore,
        progress: RestoreProgress,
        write_first: WriteFirst,
    ) -> Sequence[Entry]: ...
    async def seek(self, task: PartitionTask, offsets: Mapping[str, int | None]) -> Mapping[str, int]: ...
    def on_committed(self, partition: int, offsets: Mapping[str, int]) -> None: ...
    def on_room(self) -> None: ...


class PartitionTask:
    """Opens one partition number of the co-partitioned source topics and runs its turns.

    Attributes:
        is_used: whether `open` was called; it can be called once.
        is_open: whether the task accepts batches, from the last step of `open` until `close`.
        turns: number of committed turns.
        queue: the waiting batches.
        progress: progress of the restoration.
        view: the partition as the processor sees it.
    """

    def __init__(
        self,
        partition: int,
        *,
        pipeline: Pipeline,
        host: Host,
        stats: RuntimeStats,
        closing: asyncio.Event,
    ) -> None:
        self.partition = partition
        self.is_open = False
        self.is_used = False
        self.turns = 0
        self.progress = RestoreProgress()
        self.view: PartitionView = StatelessPartitionView(partition)
        self._pipeline = pipeline
        self._processor = pipeline.processor
        self._host = host
        self._stats = stats
        self._closing = closing
        self._committer = pipeline.new_committer(partition)
        self._stored: StoredPartitionView | None = None
        self._store: PartitionStore | None = None
        self._timers_due_at = 0.0
        self.queue = BatchQueue(host.waiting_max_bytes)

    # -- the consumer and the agents ----------------------------------------------------------------------------------

    async def accept(self, batch: RecordBatch, fold: Fold) -> int:
        """Queue a batch for the next turn. After `close`, drop it: its records are polled again."""
        if self.is_open:
            self.queue.put(batch, fold)
        else:
            self._stats.count("stale_batches")
        return len(batch)

    # -- open and close -----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the partition: take steps a to e.

        Raises:
            StateLostError, ChangelogDamagedError: the changelog does not hold the whole state.
            KafkaError, OSError, TimeoutError: Kafka is unavailable; another task may succeed.
        """
        assert not self.is_used, "a task opens once"
        self.is_used = True
        began = time.monotonic()
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self._committer.open()  # a.
        recent = await self._restore()  # b.
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            committed = await self._committer.committed()  # c.
        await self._processor.ready()  # d.
        self._processor.opened(self.view, recent)
        self.is_open = True
        self.queue.next_offsets |= await self._host.seek(self, committed)  # e.
        if self._pipeline.table is not None:
            self._pipeline.table.stores.set_readable(self.partition)
        self._stats.count("opened")
        self._stats.count("restored_records", self.progress.records)
        log.info(
            "%s/%d is open after %.2f s: %d records restored, resuming at %s",
            self._pipeline.name,
            self.partition,
            time.monotonic() - began,
            self.progress.records,
            self.queue.next_offsets,
        )

    async def _restore(self) -> Sequence[Entry]:
        table = self._pipeline.table
        if table is None:
            return ()
        self._store = table.stores.open_partition(self.partition)
        recent = await self._host.restore(self._pipeline, self.partition, self._store, self.progress, self._write_first)
        self._stored = self.view = StoredPartitionView(self.partition, self._store)
        return recent

    async def _write_first(self, incarnation: bytes) -> None:
        """Write the first record of an empty changelog; raise if the group has processed records before."""
        committed = await self._committer.committed()
        if any(offset for offset in committed.values()):
            raise StateLostError(
                f"the changelog of partition {self.partition} is empty, but its group has committed {dict(committed)}: "
                f"restore topic {self._changelog}, or start again under another application id"
            )
        await self._committer.commit([OutputRecord(self._changelog, INCARNATION_KEY, incarnation)], {})

    @property
    def _changelog(self) -> str:
        changelog = self._pipeline.changelog
        assert changelog is not None
        return changelog

    async def close(self) -> None:
        """Release everything: queued batches, the store's handle, the committer."""
        self.is_open = False
        self.queue.clear()
        if self._stored is not None:
            with contextlib.suppress(StoreWriteError):  # the next task replays a little more
                self._stored.note_end()
        self._store = self._stored = None
        if self._pipeline.table is not None:
            self._pipeline.table.stores.close_partition(self.partition)
        await finish(self._committer.close(), self._host.commit_timeout_s)

    # -- turns --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run turn after turn, until the partition is closing or something fails."""
        while not self._closing.is_set():
            if time.monotonic() >= self._timers_due_at:
                await self._fire_timers()
                self._timers_due_at = time.monotonic() + TIMER_INTERVAL_S
            if self.queue and not self.queue.waits_for_more():
                batches = self.queue.take(self._host.turn_max_records)  # step 1
                self._host.on_room()
                await self._fold(batches)
            else:
                self.queue.filled.clear()
                await unless_closing(self._wait_for_work(), self._closing)

    async def _wait_for_work(self) -> None:
        """Wait for a batch, or until the timers are due."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.queue.filled.wait(), max(0.0, self._timers_due_at - time.monotonic()))
        await asyncio.sleep(GATHER_S)

    def _new_turn(self) -> Turn:
        table, dead_letter = self._pipeline.table, self._processor.dead_letter
        if table is None:
            return Turn(lambda key: None, STATELESS, dead_letter)
        assert self._store is not None
        return Turn(self._store.get, table.codec, dead_letter)

    async def _fold(self, batches: Sequence[tuple[RecordBatch, Fold]]) -> None:
        """Run a turn on polled batches."""
        turn = self._new_turn()
        began = time.monotonic()
        turn.fold(batches)  # step 2
        offsets = {batch.topic: batch.next_offset for batch, _ in batches}
        await self._finish_turn(turn, began, offsets, records=sum(len(batch) for batch, _ in batches))

    async def _fire_timers(self) -> None:
        """Check the sink; then run a turn without input, if any timer is due."""
        await unless_closing(self._committer.check(), self._closing)
        if self._store is None:
            return
        self._store.note_up_to_date()
        timers = list(self._processor.due_timers(self.view))
        if timers:
            turn = self._new_turn()
            turn.fire(timers)  # step 2
            await self._finish_turn(turn, time.monotonic(), {}, records=0)

    async def _finish_turn(self, turn: Turn, began: float, offsets: Mapping[str, int], *, records: int) -> None:
        outputs = await unless_closing(self._processor.publish(turn, self.view), self._closing)  # step 3
        if not (offsets or outputs or turn.changed):
            return  # the timers' callbacks have changed nothing
        commit_began = time.monotonic()
        written = await finish(self._commit(turn, outputs, offsets), self._host.commit_timeout_s)  # steps 4 and 5
        if self._stored is not None and written is not None:
            self._stored.note_written(written)  # only now, when the processor will be notified
        now = time.monotonic()
        self.turns += 1  # step 6
        self._stats.turn_done(
            turn, records=records, outputs=len(outputs), seconds=now - began, commit_seconds=now - commit_began
        )
        self._host.on_committed(self.partition, offsets)
        self._processor.committed(turn, self.view)

    async def _commit(self, turn: Turn, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> int | None:
        """Run steps 4 and 5; return the offset of the last state in the changelog, None if no state changed."""
        states = [] if self._store is None else turn.encoded_states()
        changes = [OutputRecord(self._changelog, key, state) for key, state in states]
        written = await self._committer.commit([*changes, *outputs, *turn.rejected], offsets)  # step 4
        if self._store is None or not states:
            return None
        assert self._stored is not None
        offset = written[self._changelog]
        self._stored.note_time(turn.newest_ms)
        self._store.write(states, offset, turn.timer_changes())  # step 5
        return offset
