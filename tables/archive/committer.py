"""The archive's sink: puts every raw record of the change topics, unchanged, into Parquet objects in object storage.

    {root}/changes/{topic}/{partition:05d}/{start:020d}.parquet        metadata: `last-offset`, `records`

The objects of a partition form a chain: each one names its last offset, and the next one starts at that offset + 1
(`streams/model/archive_chain.py` has the rules for writing and reading a chain). The chain alone determines the offset
to resume from. The group's offset is committed after each put; it informs observers, and tells a new partition task
where to start its search for the end of the chain.

Records of several turns (micro-batches of the partition) are gathered in memory and put as one object. Records that get
lost before the put are read again from Kafka:

- If an owner is killed, or a put gets no answer, the object may exist or not; the next task finds out.
- If two owners are active at the same time (one of them was suspended), both want to put an object with the same start,
  or one of them knows only an older end of the chain. A put succeeds only if its name is unused, so one of the two puts
  is refused (412). The refused owner follows the chain to its end, drops the records that are archived by then, and
  continues after them. No two objects overlap.
- A put that arrives late, long after its owner has gone, is subject to the same condition.

A new task checks the chain only from the group's offset on, and trusts the part before it. If objects are deleted from
that part, a reader reports it, because it stops at the gap. Without the group's offset, a new task follows the whole
chain, and so fills the gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.types import TP
from mode import Service

from streams.adapters.object_store import ObjectStore
from streams.model.archive_chain import LAST_OFFSET, RECORDS, before_object, object_name, partition_folder, start_of
from streams.model.errors import SinkAwayError
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from tables.archive.rows import Rows

log = logging.getLogger(__name__)

CLOSE_FLUSH_S: Final = 2.0
"""Time limit of the last put of a partition that is handed over; the next owner reads the rest again."""

MOST_REFUSALS: Final = 5
"""Number of refused puts after which the partition is opened again. A put is refused if a rival owner was quicker,
which does not go on for long."""

FIRST_STEP_BACK: Final = 1024
STEP_GROWS: Final = 16


class ArchiveSink(Service):
    """Sink of raw records; makes a committer for each partition task.

    Args:
        store: the bucket; closed with the sink.
        app: the application, whose group's offsets are committed for observers of its lag.
        prefix: prefix of every object's name, empty or with a trailing slash.
        flush_bytes: an object is put as soon as this many bytes wait (keys, values and headers, before compression).
        flush_s: an object is put as soon as a record has waited for this many seconds.

    Attributes:
        counts: `records`, `objects` and `bytes` (of the objects) that were put, and `refused` puts.
        open: committers of the open partitions, keyed by topic partition.
        ends: end of each chain as last seen (the next object's start), keyed by topic partition.
    """

    def __init__(
        self,
        store: ObjectStore,
        app: TransactionalApp,
        *,
        prefix: str = "",
        flush_bytes: int,
        flush_s: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.store = store
        self.app = app
        self.prefix = prefix
        self.flush_bytes = flush_bytes
        self.flush_s = flush_s
        self.counts: Counter[str] = Counter(records=0, objects=0, bytes=0, refused=0)
        self.open: dict[TP, ArchiveCommitter] = {}
        self.ends: dict[TP, int] = {}  # so that a long chain is not followed twice

    @property
    def away_since(self) -> float | None:
        """Start of an outage of the object storage, Unix time in seconds; None without one."""
        return self.store.away_since

    def committers(self, topic: str) -> Callable[[int], ArchiveCommitter]:
        """Return a function that makes the committer of one partition of a source topic, given its number."""
        return lambda partition: ArchiveCommitter(self, topic, partition)

    def waiting(self) -> dict[str, dict[str, float]]:
        """Waiting `records`, `bytes` and `seconds` of each open partition, keyed by `topic/partition`."""
        return {f"{tp.topic}/{tp.partition}": each.waiting() for tp, each in sorted(self.open.items())}

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        """Commit the group's offsets for observers of its lag; errors of Kafka are ignored."""
        with contextlib.suppress(KafkaError):
            await self.app.partition_supervisor.commit_group_offsets(offsets)

    async def on_shutdown(self) -> None:
        """Release the connections."""
        await self.store.close()


class ArchiveCommitter:
    """Archives one partition of one topic."""

    def __init__(self, sink: ArchiveSink, topic: str, partition: int) -> None:
        self._sink = sink
        self._tp = TP(topic, partition)
        self._rows = Rows()
        self._start = 0  # of the next object
        self._newest: int | None = None  # start of the chain's last object
        self._waiting_since = self._looked_at = time.monotonic()
        self._is_sound = False

    async def open(self) -> None:
        """Do nothing: a former owner cannot interfere, because a put needs an unused name."""

    async def committed(self) -> Mapping[str, int | None]:
        """Follow the chain to its end; return that end, the next offset to archive, or None if there is no chain.

        Raises:
            SinkAwayError: the object storage is unavailable.
        """
        group_offset = await self._sink.app.partition_supervisor.group_offset(self._tp)
        await self._find_resume_offset({group_offset or 0, self._sink.ends.get(self._tp, 0)})
        await self._follow()
        if self._start != (group_offset or 0):
            await self._sink.commit_group_offsets({self._tp: self._start})
        self._sink.open[self._tp] = self
        self._is_sound = True
        return {self._tp.topic: self._start or None}

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Add the records of a turn; put an object if enough bytes wait.

        Raises:
            SinkAwayError: the object storage is unavailable, or has lost the chain's last object.
        """
        records = [each.source for each in outputs if each.source is not None and each.source.offset >= self._start]
        if records:
            if not self._rows:
                self._waiting_since = time.monotonic()
            self._rows.add(records)
        if self._rows.size_bytes >= self._sink.flush_bytes:
            await self._flush()
        return {}

    async def check(self) -> None:
        """Put the waiting records if they have waited long enough; without any, check the last object now and then.

        Raises:
            SinkAwayError: as for `commit`.
        """
        if self._rows:
            if time.monotonic() - self._waiting_since >= self._sink.flush_s:
                await self._flush()
        elif time.monotonic() - self._looked_at >= self._sink.flush_s:
            await self._look_after_the_newest()

    async def close(self) -> None:
        """Put the waiting records if that is quick; an object at the chain's end does no harm to a new owner."""
        is_open = self._sink.open.get(self._tp) is self
        if is_open:
            del self._sink.open[self._tp]
        if is_open and self._is_sound and self._rows:
            try:
                async with asyncio.timeout(CLOSE_FLUSH_S):
                    await self._flush()
            except (SinkAwayError, TimeoutError) as error:
                log.info("%d records of %s will be read again: %r", self._rows.records, self._tp, error)

    def waiting(self) -> dict[str, float]:
        """Number of waiting records and bytes, and for how many seconds the oldest of them has waited."""
        waited_s = time.monotonic() - self._waiting_since if self._rows else 0.0
        return {"records": self._rows.records, "bytes": self._rows.size_bytes, "seconds": round(waited_s, 3)}

    # -- putting ------------------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Put the waiting records at the current end of the chain, and commit the group's offset."""
        try:
            await self._look_after_the_newest()
            await self._put_all()
        except SinkAwayError:
            self._is_sound = False
            raise
        await self._sink.commit_group_offsets({self._tp: self._start})

    async def _put_all(self) -> None:
        refusals = 0
        while self._rows and not await self._put():
            refusals += 1
            if refusals == MOST_REFUSALS:
                raise SinkAwayError(f"another owner is archiving {self._tp} at the same time")
            await self._follow()

    async def _put(self) -> bool:
        """Put all waiting records as one object; return False if its name exists already."""
        last, records = self._rows.last_offset, self._rows.records
        size = await self._sink.store.put_new(
            self._name(self._start), self._rows.file(), {LAST_OFFSET: str(last), RECORDS: str(records)}
        )
        if size is None:
            self._sink.counts["refused"] += 1
            return False
        self._sink.counts.update(records=records, objects=1, bytes=size)
        self._advance(last)
        return True

    def _advance(self, last: int) -> None:
        """Continue after the object at the chain's end, whose last record has the offset `last`."""
        self._newest, self._start = self._start, last + 1
        self._sink.ends[self._tp] = self._start
        self._looked_at = time.monotonic()
        self._rows.drop_through(last)

    # -- the chain ----------------------------------------------------------------------------------------------------

    async def _find_resume_offset(self, candidates: Set[int]) -> None:
        """Start at the greatest candidate at which an object begins or ends, or else at the chain's beginning."""
        for offset in sorted(candidates - {0}, reverse=True):
            if await self._last_of(offset) is not None:
                self._start = offset
                return
            before = await self._start_before(offset)
            if before is not None and await self._last_of(before) == offset - 1:
                self._newest, self._start = before, offset
                return
            log.warning("%s: no object of the archive ends before offset %d; looking further back", self._tp, offset)

    async def _follow(self) -> None:
        """Follow the chain to its end."""
        while (last := await self._last_of(self._start)) is not None:
            self._advance(last)

    async def _look_after_the_newest(self) -> None:
        """Raise `SinkAwayError` if the chain's last object is missing, because nothing may be put after a gap."""
        if self._newest is not None and await self._last_of(self._newest) != self._start - 1:
            self._sink.ends.pop(self._tp, None)
            raise SinkAwayError(f"the archive of {self._tp} has lost its object {self._name(self._newest)}")
        self._looked_at = time.monotonic()

    async def _last_of(self, start: int) -> int | None:
        """Last offset of the object with this start, None if the object does not exist."""
        name = self._name(start)
        metadata = await self._sink.store.metadata(name)
        if metadata is None:
            return None
        text = metadata.get(LAST_OFFSET, "")
        if not text.isdecimal() or int(text) < start:
            raise SinkAwayError(f"{name} is no object of the archive (last-offset: {text!r}): move it away")
        return int(text)

    async def _start_before(self, offset: int) -> int | None:
        """Greatest start below an offset, None if there is none; found by listing in growing steps backwards."""
        folder, step = self._sink.prefix + partition_folder(*self._tp), FIRST_STEP_BACK
        while True:
            after = self._sink.prefix + before_object(*self._tp, max(0, offset - step))
            starts = [start_of(name) for name in await self._sink.store.first_names(folder, after=after)]
            below = [start for start in starts if start is not None and start < offset]
            if below or step >= offset:
                return max(below, default=None)
            step *= STEP_GROWS

    def _name(self, start: int) -> str:
        return self._sink.prefix + object_name(*self._tp, start)
