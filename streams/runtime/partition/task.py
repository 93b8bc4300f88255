"""A partition task opens one partition and processes it in turns; each turn is one micro-batch, committed at once.

A new task is created for each assignment of a partition (even to the same worker), and after each error. A task keeps
nothing in memory from earlier tasks. To open its partition, it takes these steps:

    a. initialise a new committer, which fences all former owners (Kafka aborts their open transactions);
    b. replay the changelog into the store, from the first record that is missing or whose follow-up may not be done;
       initialise the shared transactional id that it names, if any, and replay what follows (`shared_ids.py`);
       if it is empty, write its first record; if offsets were committed nevertheless, the state was lost (fatal);
    c. read the committed source offsets, and check that the source topics still have what follows them;
    d. wait for the application, and pass it the recent states;
    e. make the consumer seek to the committed offsets and poll for this task.

A turn takes waiting batches from all source topics of the partition and runs these steps:

    1. check that each batch starts where the previous batch of its topic ended, or the task fails; also check that the
       changes come from the known log (`origins.py`), or the task fails after the turn;
    2. fold the changes in memory (`turn.py`), or run the callbacks of the timers that are due;
    3. let the application decide what to publish; it may wait, because no transaction is open;
    4. commit changelog records, outputs, dead letters and source offsets in one transaction;
    5. write states, timers and changelog offset to the store, so that the store is never ahead of the changelog;
    6. count the turn and notify the application.

Steps 4 and 5 are not interrupted when the partition closes. If one fails, the turn's outcome is unknown until a new
task has opened the partition; that is also needed after a request was repeated (`KafkaTransactions.must_reopen`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from streams.runtime.partition.batch import Fold, OutputRecord, RecordBatch
from streams.runtime.partition.first_record import write_incarnation
from streams.runtime.partition.host import Host
from streams.runtime.partition.naming import name_shared_id, read_when_over
from streams.runtime.partition.origins import OriginCheck
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.processor import PartitionView
from streams.runtime.partition.queue import BatchQueue
from streams.runtime.partition.sources import ChangelogSourceIds, check_sources
from streams.runtime.partition.turn import Turn, fold_in_slices
from streams.runtime.partition.view import StatelessPartitionView, StoredPartitionView
from streams.runtime.partition.waiting import finish, unless_closing
from streams.runtime.state.changelog import RestoreProgress
from streams.runtime.state.codec import STATELESS
from streams.runtime.state.store import Entry, PartitionStore, StoreWriteError
from streams.runtime.stats import RuntimeStats

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 60.0
"""Time limit for fencing, and for reading committed offsets. Restoring has no limit, but its progress is logged."""

TIMER_INTERVAL_S: Final = 1.0
"""Interval at which a partition task checks its sink and its timers."""


class PartitionTask:
    """Opens one partition of the co-partitioned source topics and processes it in turns (micro-batches).

    Attributes:
        is_used: whether `open` has been called.
        is_open: whether the task accepts batches: true from the last step of `open` until `close`.
        turns: number of committed turns.
        queue: the batches that are waiting for a turn.
        progress: progress of restoring the store from the changelog.
        source_ids: ids of the source topics when the partition was opened, keyed by topic; None for an unknown id.
        view: the partition as seen by the processor.
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
        self.source_ids: Mapping[str, str | None] = {}
        self.view: PartitionView = StatelessPartitionView(partition)
        self._pipeline = pipeline
        self._misplaced = partial(pipeline.misplaced, partition=partition)
        self._processor = pipeline.processor
        self._host = host
        self._stats = stats
        self._closing = closing
        self._committer = pipeline.new_committer(partition)
        self._stored: StoredPartitionView | None = None
        self._store: PartitionStore | None = None
        self._origins: OriginCheck | None = None
        self._timers_due_at = 0.0
        self._fault: Exception | None = None
        self.queue = BatchQueue(host.waiting_max_bytes)

    # -- the consumer and the agents ----------------------------------------------------------------------------------

    async def accept(self, batch: RecordBatch, fold: Fold) -> int:
        """Queue a batch for the next turn, and return its number of records.

        A closed task drops the batch instead, because the next task polls its records again.
        """
        if self.is_open:
            self.queue.put(batch, fold)
        else:
            self._stats.count("stale_batches")
        return len(batch)

    # -- open and close -----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the partition, in steps a to e of the module's docstring.

        Raises:
            StateLostError, ChangelogDamagedError: the changelog does not contain the complete state.
            SourceChangedError: a source topic lacks the records that follow the committed offsets.
            KafkaError, OSError, TimeoutError: Kafka is unavailable; a new task may succeed later.
        """
        assert not self.is_used, "a partition task can be opened only once"
        self.is_used = True
        began = time.monotonic()
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self._committer.open()  # a.
        recent = await self._restore()  # b.
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            begins = await self._check_sources(await self._committer.committed())  # c.
        if self._pipeline.origin_rule is not None:
            self._origins = OriginCheck(self._pipeline.origin_rule, self._committer.notes)
        await self._processor.ready()  # d.
        self._processor.opened(self.view, recent)
        self.is_open = True
        await self._host.seek(self, begins)  # e.
        self.queue.next_offsets |= begins
        if self._pipeline.table is not None:
            self._pipeline.table.stores.set_readable(self.partition)
        self._stats.count("opened")
        self._stats.count("restored_records", self.progress.records)
        text = "partition %s/%d opened in %.2f s: %d records restored, resuming at offsets %s"
        name, offsets = self._pipeline.name, self.queue.next_offsets
        log.info(text, name, self.partition, time.monotonic() - began, self.progress.records, offsets)

    async def _restore(self) -> Sequence[Entry]:
        table = self._pipeline.table
        if table is None:
            return ()
        self._store = await table.stores.open_partition(self.partition)
        restored = (self._pipeline, self.partition, self._store, self.progress, self._write_first)
        recent = await read_when_over(self._store, partial(self._host.restore, *restored), self._pipeline.rounds)
        self._stored = self.view = StoredPartitionView(self.partition, self._store)
        return recent

    async def _check_sources(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """Check the source topics against the committed offsets; return the offset to start from, keyed by topic."""
        sources = await self._host.sources(self.partition, committed.keys())
        ids = ChangelogSourceIds(self._committer, self._stored, self._pipeline) if self._stored else self._committer
        await check_sources(self._host.app_id, self.partition, committed, sources, ids)
        self.source_ids = {topic: source.topic_id for topic, source in sources.items()}
        return {topic: source.begin if (at := committed[topic]) is None else at for topic, source in sources.items()}

    async def _write_first(self, incarnation: bytes) -> None:
        await write_incarnation(self._committer, self._changelog, self.partition, incarnation)

    @property
    def _changelog(self) -> str:
        changelog = self._pipeline.changelog
        assert changelog is not None
        return changelog

    async def close(self) -> None:
        """Drop the queued batches, and close the store and the committer."""
        self.is_open = False
        self.queue.clear()
        if self._stored is not None:
            with contextlib.suppress(StoreWriteError):  # the next task then replays a few more records
                self._stored.note_end()
        self._store = self._stored = None
        try:
            if self._pipeline.table is not None:
                await self._pipeline.table.stores.close_partition(self.partition)
        finally:
            await finish(self._committer.close(), self._host.commit_timeout_s)

    def fail(self, error: Exception) -> None:
        """Make `run` raise `error` after the current turn."""
        self._fault = error
        self.queue.filled.set()

    # -- turns --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run turns (micro-batches) until the partition is closing, must be opened again, or an error occurs."""
        while not (self._closing.is_set() or self._committer.must_reopen):
            if self._fault is not None:
                raise self._fault
            if time.monotonic() >= self._timers_due_at:
                await self._fire_timers()
                self._timers_due_at = time.monotonic() + TIMER_INTERVAL_S
            elif await name_shared_id(self._committer, self._stored, self._pipeline, self._host.commit_timeout_s):
                pass
            elif self.queue and not self.queue.waits_for_more():
                await self._take_turn()
            else:
                await unless_closing(self.queue.wait(self._timers_due_at - time.monotonic()), self._closing)

    async def _take_turn(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            admission, began = self._pipeline.admitted(self.partition, self.queue.oldest_ms), time.monotonic()
            await unless_closing(stack.enter_async_context(admission), self._closing)
            self._stats.waited(time.monotonic() - began)
            batches = self.queue.take(self._host.turn_max_records)  # step 1
            self._host.on_room()
            await self._fold(batches)
            self.queue.turn_ended()

    def _new_turn(self) -> Turn:
        table, dead_letter = self._pipeline.table, self._processor.dead_letter
        if table is None:
            return Turn(lambda key: None, STATELESS, dead_letter)
        assert self._store is not None
        return Turn(self._store.get, table.codec, dead_letter, self._misplaced)

    async def _fold(self, batches: Sequence[tuple[RecordBatch, Fold]]) -> None:
        """Process polled batches in one turn (micro-batch).

        Raises:
            UnknownOriginError: a change comes from another log; the changes before it were processed.
        """
        stop = None
        if self._origins is not None:
            batches, stop = await unless_closing(self._origins.passed(batches), self._closing)
        if batches:
            await self._fold_known(batches)
        if stop is not None:
            raise stop

    async def _fold_known(self, batches: Sequence[tuple[RecordBatch, Fold]]) -> None:
        turn = self._new_turn()
        began = time.monotonic()
        await fold_in_slices(turn, batches)  # step 2
        offsets = {batch.topic: batch.next_offset for batch, _ in batches}
        await self._finish_turn(turn, began, offsets, records=sum(len(batch) for batch, _ in batches))

    async def _fire_timers(self) -> None:
        """Check the sink, then run a turn (micro-batch) without input if any timer is due."""
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
        publish_began = time.monotonic()
        outputs = await unless_closing(self._processor.publish(turn, self.view), self._closing)  # step 3
        if not (offsets or outputs or turn.changed):
            return  # the timer callbacks changed nothing
        commit_began = time.monotonic()
        written = await finish(self._commit(turn, outputs, offsets), self._host.commit_timeout_s)  # 4 and 5
        if self._stored is not None and written is not None:
            self._stored.note_written(written)  # the offset of the follow-up in `committed`
        now = time.monotonic()
        self.turns += 1  # step 6
        self._stats.turn_done(
            turn,
            records=records,
            outputs=len(outputs),
            seconds=now - began,
            commit_seconds=now - commit_began,
            publish_seconds=commit_began - publish_began,
        )
        self._host.on_committed(self.partition, offsets)
        self._processor.committed(turn, self.view)

    async def _commit(self, turn: Turn, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> int | None:
        """Commit the turn and write its states to the store; return the changelog offset of the last state, if any."""
        states = [] if self._store is None else turn.encoded_states()
        changes = [OutputRecord(self._changelog, key, state) for key, state in states]
        turn.written = await self._committer.commit([*changes, *outputs, *turn.rejected], offsets)  # step 4
        if self._store is None or not states:
            return None
        assert self._stored is not None
        offset = turn.written[self._changelog]
        self._stored.note_time(turn.newest_ms)
        self._store.write(states, offset, turn.timer_changes())  # step 5
        return offset
