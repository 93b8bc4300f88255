"""One opening of a partition: the only way into processing, and then turn after turn.

A partition is opened on every assignment, also when it was here before, and again after every error or unknown
outcome. Nothing of an earlier opening is used again. Opening takes these steps:

    a. a new committer fences every former owner (Kafka aborts what they had open);
    b. the changelog's tail is replayed into the store, from the record after the last one it contains; an empty
       changelog gets its first record, unless the group has committed offsets: then a state was lost, and this stops;
    c. the committed offsets are read;
    d. the application gets ready;
    e. the consumer is told to seek to the committed offsets and to poll for this opening.

A turn takes the batches that wait, of all source topics of the partition, and runs these steps:

    1. check that each batch begins where this opening stands in its topic; a gap means another opening;
    2. fold its changes in memory (`turn.py`);
    3. let the application decide what is published; waiting is allowed, no transaction is open;
    4. one transaction: changelog, outputs, dead letters, source offsets;
    5. write the states and the changelog offset to the store: local state is never ahead of the log;
    6. account for it and let the application know.

Steps 4 and 5 are not interrupted. When one fails, the outcome is unknown here, and only another opening finds it out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from streams.runtime.batch import Batch, Fold, OutputRecord
from streams.runtime.changelog import INCARNATION_KEY, RestoreProgress, WriteFirst
from streams.runtime.committer import Committer
from streams.runtime.flow import Flow
from streams.runtime.stats import RuntimeStats
from streams.runtime.store import PartitionStore
from streams.runtime.table import BatchTable
from streams.runtime.turn import Turn
from streams.runtime.waiting import finish, unless_closing

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 60.0
"""Bound of fencing and of reading committed offsets, each. Restoring has no bound, only visible progress."""


GATHER_S: Final = 0.001
"""Pause between the first batch after a lull and its turn. The changes of an order's row and of its lines arrive as two
batches at almost the same time: together they cost one transaction, one after the other two, and the second one waits
for the first."""


class StateLostError(Exception):
    """The changelog was emptied or made anew behind the group's back; going on would lose or repeat orders."""


class BatchesApartError(Exception):
    """A batch was lost between the poll and its turn; another opening polls it again."""


class Host(Protocol):
    """What an opening asks of the worker around it."""

    @property
    def turn_max_records(self) -> int: ...
    @property
    def waiting_max_bytes(self) -> int: ...
    @property
    def fenced_wait_s(self) -> float: ...
    @property
    def commit_timeout_s(self) -> float: ...
    @property
    def changelog_topic(self) -> str: ...
    def new_committer(self, partition: int) -> Committer: ...
    async def restore(
        self, partition: int, store: PartitionStore, progress: RestoreProgress, write_first: WriteFirst
    ) -> None: ...
    async def seek(self, opening: Opening, offsets: Mapping[str, int | None]) -> Mapping[str, int]: ...
    def on_committed(self, partition: int, offsets: Mapping[str, int]) -> None: ...
    def on_room(self) -> None: ...


class Opening:
    """One opening of one partition number of the co-partitioned source topics; the owner of what is polled for it.

    Attributes:
        is_used: whether it was ever opened: a used one is not opened again.
        is_open: whether batches are welcome: between the last step of opening and the close.
        turns: committed turns.
        next_offsets: where this opening stands in each source topic.
        progress: of the restoration.
    """

    def __init__(
        self,
        partition: int,
        *,
        host: Host,
        table: BatchTable,
        flow: Flow,
        stats: RuntimeStats,
        closing: asyncio.Event,
    ) -> None:
        self.partition = partition
        self.is_open = False
        self.is_used = False
        self.turns = 0
        self.next_offsets: dict[str, int] = {}
        self.progress = RestoreProgress()
        self._host = host
        self._table = table
        self._flow = flow
        self._stats = stats
        self._closing = closing
        self._committer = host.new_committer(partition)
        self._store: PartitionStore | None = None
        self._waiting: deque[tuple[Batch, Fold]] = deque()
        self._polled_bytes = 0
        self._work = asyncio.Event()

    # -- the consumer and the agents ----------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether another poll is welcome."""
        return self._polled_bytes < self._host.waiting_max_bytes

    def polled(self, batch: Batch) -> None:
        """Account for a batch on its way through Faust to `accept`."""
        self._polled_bytes += batch.size_bytes

    async def accept(self, batch: Batch, fold: Fold) -> int:
        """Queue a batch for the next turn; after the close it is dropped, and its records are polled again."""
        if self.is_open:
            self._waiting.append((batch, fold))
            self._work.set()
        else:
            self._stats.count("stale_batches")
        return len(batch)

    # -- open and close -----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Steps a to e.

        Raises:
            StateLostError, ChangelogDamagedError: the state cannot be relied on.
            KafkaError, OSError, TimeoutError: Kafka is away; another opening may succeed.
        """
        assert not self.is_used, "nothing of an earlier opening is used again"
        self.is_used = True
        began = time.monotonic()
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self._committer.open()  # a.
        self._store = self._table.stores.open_partition(self.partition)
        await self._host.restore(self.partition, self._store, self.progress, self._write_first)  # b.
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            committed = await self._committer.committed()  # c.
        await self._flow.ready()  # d.
        self.is_open = True
        self.next_offsets = dict(await self._host.seek(self, committed))  # e.
        self._table.stores.set_readable(self.partition)
        self._stats.count("opened")
        self._stats.count("restored_records", self.progress.records)
        log.info(
            "partition %d is open after %.2f s: %d records restored, goes on at %s",
            self.partition,
            time.monotonic() - began,
            self.progress.records,
            self.next_offsets,
        )

    async def _write_first(self, incarnation: bytes) -> None:
        """Begin an empty changelog; under a group that has processed records it means that what it knew is gone."""
        committed = await self._committer.committed()
        if any(offset for offset in committed.values()):
            raise StateLostError(
                f"the changelog of partition {self.partition} is empty, but its group has committed {dict(committed)}: "
                f"restore topic {self._host.changelog_topic}, or begin anew under another application id"
            )
        await self._committer.commit([OutputRecord(self._host.changelog_topic, INCARNATION_KEY, incarnation)], {})

    async def close(self) -> None:
        """Let go of everything: queued batches, the store's handle, the committer."""
        self.is_open = False
        self._waiting.clear()
        self._store = None
        self._table.stores.close_partition(self.partition)
        await finish(self._committer.close(), self._host.commit_timeout_s)

    # -- turns --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turn after turn, until the partition is to close or something fails."""
        while not self._closing.is_set():
            if self._waiting:
                await self._turn(self._take())
            else:
                self._work.clear()
                await unless_closing(self._work.wait(), self._closing)
                await asyncio.sleep(GATHER_S)

    def _take(self) -> list[tuple[Batch, Fold]]:
        """The batches of the next turn: those that wait, up to the size of a turn."""
        taken: list[tuple[Batch, Fold]] = []
        records = 0
        while self._waiting:
            batch, fold = self._waiting[0]
            if taken and records + len(batch) > self._host.turn_max_records:
                break
            self._waiting.popleft()
            self._polled_bytes -= batch.size_bytes
            records += len(batch)
            self._check_begin(batch)  # step 1
            self.next_offsets[batch.topic] = batch.next_offset
            taken.append((batch, fold))
        self._host.on_room()
        return taken

    def _check_begin(self, batch: Batch) -> None:
        expected = self.next_offsets.get(batch.topic)
        if batch.from_offset != expected or batch.records[0].offset < batch.from_offset:
            raise BatchesApartError(f"{batch!r} does not follow offset {expected}")

    async def _turn(self, batches: Sequence[tuple[Batch, Fold]]) -> None:
        began = time.monotonic()
        assert self._store is not None
        turn = Turn(self._store.get, self._table.codec, self._flow.dead_letter)
        turn.fold(batches)  # step 2
        outputs = await unless_closing(self._flow.publish(turn.outcomes, self.partition), self._closing)  # step 3
        offsets = {batch.topic: batch.next_offset for batch, _ in batches}
        await finish(self._commit(turn, outputs, offsets), self._host.commit_timeout_s)  # steps 4 and 5
        self.turns += 1  # step 6
        records = sum(len(batch) for batch, _ in batches)
        self._stats.turn_done(turn, records=records, outputs=len(outputs), seconds=time.monotonic() - began)
        self._host.on_committed(self.partition, offsets)
        self._flow.committed(turn.outcomes)

    async def _commit(self, turn: Turn, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> None:
        assert self._store is not None
        states = turn.encoded_states()
        changelog = self._host.changelog_topic
        changes = [OutputRecord(changelog, key, state) for key, state in states]
        written = await self._committer.commit([*changes, *outputs, *turn.refused], offsets)  # step 4
        if states:
            self._store.write(states, written[changelog])  # step 5
