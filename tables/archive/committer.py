"""The archive's sink: writes every raw record of the change topics, unchanged, to Parquet objects in object storage.

    {root}/changes/{topic}/{partition:05d}/{start:020d}.parquet        metadata: `last-offset`, `records`, `topic-id`

The objects of a partition form a chain: the metadata of each object contains its last offset, and the next object
starts at that offset + 1 (`streams/model/archive_chain.py` has the rules for writing and reading a chain). Only the
chain determines the offset to resume from. The consumer group's offset is committed after each put; it shows the lag to
monitoring tools, and tells a new partition task where to start its search for the end of the chain.

Records of several turns (micro-batches) are collected and put as one object. Those lost before it are read again:

- If a worker is killed, or a put gets no response, the object may or may not exist; the next task checks this.
- If two workers own the partition at the same time (one of them was suspended), both try to put an object with the same
  start, or one of them knows only an older end of the chain. A put succeeds only if its name is unused, also if it
  arrives late, so one of the two is refused (HTTP 412). The refused worker follows the chain to its end, drops the
  records that have been archived, and continues after them. No two objects overlap.

A new task checks the chain from the group's offset on: if objects before it are deleted, readers stop at the gap and
report it; if the group's offset is deleted, a new task follows the whole chain and fills the gap.
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
from streams.model.archive_chain import (
    LAST_OFFSET,
    TOPIC_ID,
    before_object,
    object_metadata,
    object_name,
    partition_folder,
    start_of,
)
from streams.model.errors import SinkAwayError
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from tables.archive.rows import Rows

log = logging.getLogger(__name__)

CLOSE_FLUSH_S: Final = 2.0
"""Time limit in seconds of the last put before a partition is handed over; what is not put is read again."""

MOST_REFUSALS: Final = 5
"""Number of refused puts in a row after which the partition is reopened; another owner is faster only for a while."""

FIRST_STEP_BACK: Final = 1024
STEP_GROWS: Final = 16


class ArchiveSink(Service):
    """A sink that archives raw records; creates a committer for each partition task.

    Args:
        store: the bucket; the sink closes it.
        app: the application, whose consumer group's offsets are committed so that its lag can be monitored.
        prefix: prefix of every object's name, empty or with a trailing slash.
        flush_bytes: an object is put as soon as this many bytes of uncompressed records are waiting.
        flush_s: an object is put as soon as a record has waited for this many seconds.

    Attributes:
        counts: `records`, `objects` and `bytes` (sizes of the objects) that were put, and `refused` puts.
        open: committers of the open partitions, keyed by topic partition.
        ends: last known end of each chain (the start of the next object), keyed by topic partition.
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
        """Start of the current outage of the object storage, as Unix time in seconds; None if there is no outage."""
        return self.store.away_since

    def committers(self, topic: str) -> Callable[[int], ArchiveCommitter]:
        """Return a function that creates the committer of a partition of this topic, given the partition number."""
        return lambda partition: ArchiveCommitter(self, topic, partition)

    def waiting(self) -> dict[str, dict[str, float]]:
        """Return the waiting `records` and `bytes` and their longest wait in `seconds`, keyed by `topic/partition`."""
        return {f"{tp.topic}/{tp.partition}": each.waiting() for tp, each in sorted(self.open.items())}

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        """Commit the consumer group's offsets, so that its lag can be monitored; Kafka errors are ignored."""
        with contextlib.suppress(KafkaError):
            await self.app.partition_supervisor.commit_group_offsets(offsets)

    async def on_shutdown(self) -> None:
        """Close the connections to the object storage."""
        await self.store.close()


class ArchiveCommitter:
    """A committer that archives one partition of a topic."""

    must_reopen = False

    def __init__(self, sink: ArchiveSink, topic: str, partition: int) -> None:
        self._sink = sink
        self._tp = TP(topic, partition)
        self._rows = Rows()
        self._start = 0  # start of the next object
        self._newest: int | None = None  # start of the chain's last object
        self._waiting_since = self._looked_at = time.monotonic()
        self._is_sound = False
        self._topic_id: str | None = None
        self.notes: dict[str, str] = {}

    async def open(self) -> None:
        """Do nothing: former owners need not be fenced, because a put never replaces an existing object."""

    async def committed(self) -> Mapping[str, int | None]:
        """Follow the chain to its end; return the next offset to archive, keyed by topic, or None if there is no chain.

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
        """Add the records of a turn to the waiting records; put an object if enough bytes are waiting.

        Raises:
            SinkAwayError: the object storage is unavailable or has lost the chain's last object, or another worker is
                archiving the same partition.
        """
        records = [each.source for each in outputs if each.source is not None and each.source.offset >= self._start]
        if records:
            if not self._rows:
                self._waiting_since = time.monotonic()
            self._rows.add(records)
        if self._rows.size_bytes >= self._sink.flush_bytes:
            await self._flush()
        return {}

    async def source_ids(self) -> Mapping[str, str]:
        """Return the id of the topic whose records the chain's last object contains, if the object has one."""
        newest = None if self._newest is None else await self._sink.store.metadata(self._name(self._newest))
        self._topic_id = (newest or {}).get(TOPIC_ID)
        return {self._tp.topic: self._topic_id} if self._topic_id else {}

    async def keep_source_ids(self, ids: Mapping[str, str]) -> None:
        """Add the topic's id to the objects to come."""
        self._topic_id = ids[self._tp.topic]

    async def check(self) -> None:
        """Put the waiting records if they are due; if there are none, check regularly that the last object exists.

        Raises:
            SinkAwayError: for the same reasons as in `commit`.
        """
        if self._rows:
            if time.monotonic() - self._waiting_since >= self._sink.flush_s:
                await self._flush()
        elif time.monotonic() - self._looked_at >= self._sink.flush_s:
            await self._look_after_the_newest()

    async def close(self) -> None:
        """Put the waiting records before the partition is handed over, but give up after `CLOSE_FLUSH_S` seconds."""
        if self._sink.open.get(self._tp) is not self:
            return
        del self._sink.open[self._tp]
        if self._is_sound and self._rows:
            try:
                async with asyncio.timeout(CLOSE_FLUSH_S):
                    await self._flush()
            except (SinkAwayError, TimeoutError) as error:
                log.info("%d records of %s are to be read again: %r", self._rows.records, self._tp, error)

    def waiting(self) -> dict[str, float]:
        """Return the number of waiting `records` and `bytes`, and how many `seconds` the oldest record has waited."""
        waited_s = round(time.monotonic() - self._waiting_since, 3) if self._rows else 0.0
        return {"records": self._rows.records, "bytes": self._rows.size_bytes, "seconds": waited_s}

    # -- putting ------------------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Put the waiting records at the end of the chain, and commit the consumer group's offset."""
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
                raise SinkAwayError(f"another worker is archiving {self._tp} at the same time")
            await self._follow()

    async def _put(self) -> bool:
        """Put all waiting records as one object; return False if an object with this name already exists."""
        last, records = self._rows.last_offset, self._rows.records
        metadata = object_metadata(last, records, self._topic_id)
        size = await self._sink.store.put_new(self._name(self._start), self._rows.file(), metadata)
        if size is None:
            self._sink.counts["refused"] += 1
            return False
        self._sink.counts.update(records=records, objects=1, bytes=size)
        self._advance(last)
        return True

    def _advance(self, last: int) -> None:
        """Move the end of the chain past an object that starts at the current end and whose last offset is `last`."""
        self._newest, self._start = self._start, last + 1
        self._sink.ends[self._tp] = self._start
        self._looked_at = time.monotonic()
        self._rows.drop_through(last)

    # -- the chain ----------------------------------------------------------------------------------------------------

    async def _find_resume_offset(self, candidates: Set[int]) -> None:
        """Set the start to the greatest candidate at which an object begins or ends, or to the chain's beginning."""
        for offset in sorted(candidates - {0}, reverse=True):
            if await self._last_of(offset) is not None:
                self._start = offset
                return
            before = await self._start_before(offset)
            if before is not None and await self._last_of(before) == offset - 1:
                self._newest, self._start = before, offset
                return
            log.warning(
                "%s: no archived object starts or ends at offset %d; trying an earlier offset", self._tp, offset
            )

    async def _follow(self) -> None:
        """Move along the chain, object by object, to its end."""
        while (last := await self._last_of(self._start)) is not None:
            self._advance(last)

    async def _look_after_the_newest(self) -> None:
        """Raise `SinkAwayError` if the chain's last object is missing, because no object may be put after a gap."""
        if self._newest is not None and await self._last_of(self._newest) != self._start - 1:
            self._sink.ends.pop(self._tp, None)
            raise SinkAwayError(f"the last object in the archive of {self._tp} is missing: {self._name(self._newest)}")
        self._looked_at = time.monotonic()

    async def _last_of(self, start: int) -> int | None:
        """Return the last offset of the object with this start, or None if the object does not exist."""
        name = self._name(start)
        if (metadata := await self._sink.store.metadata(name)) is None:
            return None
        text = metadata.get(LAST_OFFSET, "")
        if not text.isdecimal() or int(text) < start:
            raise SinkAwayError(f"{name} is not an archive object (metadata last-offset: {text!r}): move it elsewhere")
        return int(text)

    async def _start_before(self, offset: int) -> int | None:
        """Return the greatest start of an object below an offset, or None; search backwards in growing steps."""
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
