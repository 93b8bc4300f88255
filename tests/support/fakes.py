"""Fakes of the collaborators of the code under test; they record their input and fail on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka.structs import TopicPartition
from msgspec import Struct

from streams.model.change import Change
from streams.model.fold import STATE_ONLY, UNCHANGED, Rejected
from streams.model.published import PaymentMethod
from streams.runtime.partition.batch import OutputRecord, SourceRecord, TimerCallback
from streams.runtime.partition.committer import Committer
from streams.runtime.partition.host import PolledTask
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.processor import PartitionView
from streams.runtime.partition.sources import Source
from streams.runtime.partition.turn import Turn
from streams.runtime.state.changelog import CONTROL_BYTE, Restoration, RestoreProgress, WriteFirst
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.store import Entry, PartitionStore
from streams.runtime.state.timers import Timer
from streams.runtime.testing import Consumed

CHANGELOG: Final = "changelog"


class KnownPaymentMethods:
    """A fake look-up of the given payment methods; `waited_for` records the ids of each call of `wait_for`."""

    def __init__(self, *methods: PaymentMethod) -> None:
        self._known = {method.id: method for method in methods}
        self.waited_for: list[set[int]] = []

    def get(self, id_: int, /) -> PaymentMethod | None:
        return self._known.get(id_)

    async def ready(self) -> None:
        return

    async def wait_for(self, ids: set[int], timeout_s: float, /) -> None:
        self.waited_for.append(ids)


class Tally(Struct):
    """The state of a small test application that sums numbers per key.

    Attributes:
        total: sum of the rows so far.
        position: position of the last change that was added.
        first_ms: time of the first change, in milliseconds since 1970.
    """

    total: int = 0
    position: tuple[int, int, int, int] | None = None
    first_ms: int = 0


UNROUNDED: Final = 1
"""The timer kind of tallies whose total is not a multiple of ten."""


def unrounded_timer(state: Tally) -> Timer | None:
    """Return the timer of a tally whose total is not a multiple of ten; otherwise None."""
    return (UNROUNDED, state.first_ms) if state.total % 10 else None


TALLY_CODEC: Final = StateCodec(
    Tally, timer_of=unrounded_timer, timers_version=b"unrounded", counted_kinds=(UNROUNDED,)
)


def add(state: Tally, change: Change[int]) -> Any:
    """Fold a number into a tally; publish the total if it is a multiple of ten, reject 13, and fail on 99."""
    if state.position is not None and change.position <= state.position:
        return UNCHANGED
    if change.row == 13:
        raise Rejected("thirteen is rejected")
    state.total += change.row
    if change.row == 99:
        raise ZeroDivisionError("a bug in the fold")
    state.position = change.position
    state.first_ms = state.first_ms or change.at_ms
    return (change.key, state.total) if state.total % 10 == 0 else STATE_ONLY


class TallyProcessor:
    """A processor that publishes the totals returned by the fold `add` to the topic `tens`.

    Attributes:
        hold: event that `publish` waits for; None if it does not wait.
        publishing: event that is set when `publish` is called.
        committed_outcomes: outcomes of all committed turns.
        due: function that returns the due timers.
        looks: number of calls of `due_timers`.
        recent: entries passed to each call of `opened`.
        settle: function that receives the callback that completes a follow-up; by default it is called at once.
    """

    def __init__(self) -> None:
        self.hold: asyncio.Event | None = None
        self.publishing = asyncio.Event()
        self.committed_outcomes: list[Any] = []
        self.due: Callable[[PartitionView], Iterable[tuple[bytes, TimerCallback]]] = lambda partition: ()
        self.looks = 0
        self.recent: list[list[Entry]] = []
        self.settle: Callable[[Callable[[], None]], None] = lambda done: done()

    async def ready(self) -> None:
        return

    def opened(self, partition: PartitionView, recent: Sequence[Entry]) -> None:
        self.recent.append(list(recent))
        self.settle(partition.pending_follow_up())

    def due_timers(self, partition: PartitionView) -> Iterable[tuple[bytes, TimerCallback]]:
        self.looks += 1
        return self.due(partition)

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        self.publishing.set()
        if self.hold is not None:
            await self.hold.wait()
        return [OutputRecord("tens", key, b"%d" % total) for key, total in turn.outcomes]

    def dead_letter(self, record: SourceRecord, reason: str) -> OutputRecord:
        return OutputRecord("dead", record.key, record.value, (("reason", reason.encode()),))

    def committed(self, turn: Turn, partition: PartitionView) -> None:
        self.committed_outcomes += turn.outcomes
        self.settle(partition.pending_follow_up())


class Log:
    """A fake of Kafka's durable state: topics and committed offsets, which outlive committers and partitions.

    Attributes:
        topics: records by topic; the list index is the offset.
        offsets: committed offsets by topic.
        source_ids: ids of the source topics, which a pipeline without a changelog keeps beside the offsets.
        notes: texts committed with the offsets, by topic.
        compacted: changelog offsets whose records compaction has removed.
        openings: number of committers opened so far; only the last of them may commit.
        hanging_commits: number of commits that will hang forever.
        slow: event that commits wait for; None if they do not wait.
        slow_commits: number of commits that have waited for `slow`.
    """

    def __init__(self) -> None:
        self.topics: dict[str, list[OutputRecord]] = {}
        self.offsets: dict[str, int] = {}
        self.notes: dict[str, str] = {}
        self.compacted: set[int] = set()
        self.source_ids: Mapping[str, str] = {}
        self.openings = 0
        self.hanging_commits = 0
        self.slow: asyncio.Event | None = None
        self.slow_commits = 0

    def append(self, records: Sequence[OutputRecord], offsets: Mapping[str, int]) -> dict[str, int]:
        for record in records:
            self.topics.setdefault(record.topic, []).append(record)
        self.offsets.update(offsets)
        return {topic: len(kept) - 1 for topic, kept in self.topics.items()}


class MemoryCommitter:
    """A committer that writes to a `Log`; only the most recently opened committer may write.

    Each commit takes the next entry of `failures`, if any. `(error, True)` raises the error after the write, as if the
    response had been lost; `(error, False)` raises it instead of writing; `(None, True)` is a commit that had to repeat
    a request.
    """

    def __init__(self, log: Log, failures: list[tuple[Exception | None, bool]], topics: Sequence[str]) -> None:
        self._log, self._failures, self._topics = log, failures, topics
        self._epoch = 0
        self.notes: dict[str, str] = {}
        self.closed = False
        self.must_reopen = False

    async def open(self) -> None:
        self._log.openings += 1
        self._epoch = self._log.openings

    async def committed(self) -> Mapping[str, int | None]:
        self.notes = dict(self._log.notes)
        return {topic: self._log.offsets.get(topic) for topic in self._topics}

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        assert self._epoch == self._log.openings, "a fenced committer must not be used"
        if outputs and all((record.key or b"").startswith(CONTROL_BYTE) for record in outputs):
            return self._log.append(outputs, {})
        if self._log.hanging_commits:
            self._log.hanging_commits -= 1
            await asyncio.Event().wait()
        if self._log.slow is not None:
            self._log.slow_commits += 1
            await self._log.slow.wait()
        assert not self.must_reopen, "a late copy of the repeated request could end this transaction"
        self.must_reopen = bool(self._failures) and self._failures[0][0] is None
        error, written = self._failures.pop(0) if self._failures else (None, True)
        answer = self._log.append(outputs, offsets) if written else {}
        self._log.notes |= {topic: self.notes.get(topic, "") for topic in offsets if written}
        if error is not None:
            raise error
        return answer

    async def source_ids(self) -> Mapping[str, str]:
        return self._log.source_ids

    async def keep_source_ids(self, ids: Mapping[str, str]) -> None:
        self._log.source_ids = ids

    async def check(self) -> None:
        return

    async def close(self) -> None:
        self.closed = True


class LogConsumer:
    """A fake consumer of the changelog in a `Log`, with the methods that a restoration uses."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._position = 0

    def _records(self) -> list[OutputRecord]:
        return self._log.topics.get(CHANGELOG, [])

    async def beginning_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, len(self._records()))

    def last_stable_offset(self, tp: TopicPartition) -> int | None:
        return len(self._records())

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._position = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._position

    async def getmany(
        self, *tps: TopicPartition, timeout_ms: int, max_records: int | None = None
    ) -> dict[TopicPartition, list[Consumed]]:
        begin, records = self._position, self._records()
        end = len(records) if max_records is None else min(len(records), begin + max_records)
        if begin >= end:
            await asyncio.sleep(0.001)
            return {}
        self._position = end
        offsets = [offset for offset in range(begin, end) if offset not in self._log.compacted]
        return (
            {tps[0]: [Consumed(CHANGELOG, 0, i, *records[i][1:3], headers=records[i].headers) for i in offsets]}
            if offsets
            else {}
        )


class FakeHost:
    """A fake worker that hosts a partition under test.

    Attributes:
        sought: receives the start offsets of each task that opens.
        source: every source topic as the fake Kafka describes it.
    """

    turn_max_records = 100
    waiting_max_bytes = 1_000_000
    fenced_wait_s = 0.01
    commit_timeout_s = 0.5
    group_answers: asyncio.Event | None = None  # None: the group confirms at once
    changelog_delete_retention_s = 86_400.0
    app_id = "tally"

    def __init__(self, log: Log, topics: Sequence[str] = ("numbers",)) -> None:
        self.log = log
        self.failures: list[tuple[Exception | None, bool]] = []
        self.committers: list[MemoryCommitter] = []
        self.sought: asyncio.Queue[tuple[PolledTask, Mapping[str, int]]] = asyncio.Queue()
        self.committed: list[Mapping[str, int]] = []
        self.source = Source(None, 0, 1_000_000)
        self._topics = topics

    def new_committer(self, partition: int) -> Committer:
        self.committers.append(MemoryCommitter(self.log, self.failures, self._topics))
        return self.committers[-1]

    async def restore(
        self,
        pipeline: Pipeline,
        partition: int,
        store: PartitionStore,
        progress: RestoreProgress,
        write_first: WriteFirst,
    ) -> Sequence[Entry]:
        assert pipeline.table is not None
        restoration = Restoration(
            store,
            TopicPartition(CHANGELOG, partition),
            pipeline.table.codec,
            changelog_delete_retention_s=self.changelog_delete_retention_s,
            progress=progress,
            write_first=write_first,
        )
        await restoration._restore(LogConsumer(self.log))
        return list(restoration.recent)

    async def confirm_ownership(self) -> None:
        if self.group_answers is not None:
            await self.group_answers.wait()

    async def sources(self, partition: int, topics: Collection[str]) -> Mapping[str, Source]:
        return dict.fromkeys(topics, self.source)

    async def seek(self, task: PolledTask, offsets: Mapping[str, int]) -> None:
        await self.sought.put((task, dict(offsets)))

    def on_committed(self, partition: int, offsets: Mapping[str, int]) -> None:
        self.committed.append(dict(offsets))

    def on_room(self) -> None:
        return


def numbers(first_offset: int, *rows: int) -> list[Consumed]:
    """Build consumed records of the topic `numbers`, one per number, with the number as text in the value."""
    return [
        Consumed("numbers", 0, first_offset + i, b"k", b"%d" % row, 1_700_000_000_000) for i, row in enumerate(rows)
    ]
