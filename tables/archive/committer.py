"""The archive: every raw record of the change topics, unchanged, in Parquet objects on the object storage.

    {root}/changes/{topic}/{partition:05d}/{start:020d}.parquet        metadata: `last-offset`, `records`

`streams/model/archive_chain.py` says how the objects of a partition make a chain, and by which rule a reader follows
it: the next object is the one whose start is the previous one's last offset + 1. The chain alone decides where to go
on; the group's offset, committed after the put, is for those who watch, and tells an opening where to begin to look.

Records of several turns are gathered in memory and put as one object. Whoever loses them reads them again from Kafka:

- An owner that was killed, or whose put had no answer, has put the object or has not; the next task finds out.
- Two owners at a time (one of them slept) stand at the same start or know an older end of the chain than there is. The
  put has the condition that nobody has the name yet, so one of the two is refused (412). It follows the chain to its
  end, drops the records that are there by now, and goes on after them. No object overlaps another one.
- A put that arrives late, from an owner that has long gone, meets the same condition.

An opening looks at the chain from the group's offset on, and trusts what is before. Whoever deletes objects there hears
of it from a reader, which stops at the gap. Without the group's offset an opening goes along the whole chain, and so
fills it.
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
"""Bound of the last put of a partition that is handed over; what it does not put, the next owner reads again."""

MOST_REFUSALS: Final = 5
"""A put is refused when a rival was quicker, which does not go on for long; whoever is refused so often opens anew."""

FIRST_STEP_BACK: Final = 1024
STEP_GROWS: Final = 16


class ArchiveSink(Service):
    """Sink of raw records; makes a committer for each partition task.

    Args:
        store: the bucket; closed with the sink.
        app: the application, whose group's offsets are committed for observers of its lag.
        prefix: prefix of every object's name, empty or with a trailing slash.
        flush_bytes: an object is put as soon as so many bytes wait (keys, values and headers, before compression).
        flush_s: an object is put as soon as a record has waited for so many seconds.

    Attributes:
        counts: `records`, `objects` and `bytes` (of the objects) that were put, and `refused` puts.
        open: the open partitions.
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
        self.ends: dict[TP, int] = {}  # of chains, as last seen: a long way along a chain is not begun anew

    @property
    def away_since(self) -> float | None:
        """Start of an outage of the object storage, Unix time in seconds; None without one."""
        return self.store.away_since

    def committers(self, topic: str) -> Callable[[int], ArchiveCommitter]:
        """Committers of a source topic, by partition number."""
        return lambda partition: ArchiveCommitter(self, topic, partition)

    def waiting(self) -> dict[str, dict[str, float]]:
        """Waiting data of each open partition: `records`, `bytes`, and `seconds` of waiting."""
        return {f"{tp.topic}/{tp.partition}": each.waiting() for tp, each in sorted(self.open.items())}

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        """Commit the group's offsets, which are only informative."""
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
        """Do nothing: a former owner is stopped by the objects' names."""

    async def committed(self) -> Mapping[str, int | None]:
        """End of the chain, None if there is no chain.

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
        """Add the records of a turn; put an object if there is enough for one.

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
        """Put an object of records that have waited long enough; without records, check the last object now and then.

        Raises:
            SinkAwayError: as for `commit`.
        """
        if self._rows:
            if time.monotonic() - self._waiting_since >= self._sink.flush_s:
                await self._flush()
        elif time.monotonic() - self._looked_at >= self._sink.flush_s:
            await self._look_after_the_newest()

    async def close(self) -> None:
        """Put the waiting records, if that is quick: an object at the chain's end does no harm, whoever owns it now."""
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
        """Amount of waiting data, and since when."""
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
        """Put one object of all waiting records; False if its name exists already."""
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
        """Continue after the object at the chain's end, which ends with this offset."""
        self._newest, self._start = self._start, last + 1
        self._sink.ends[self._tp] = self._start
        self._looked_at = time.monotonic()
        self._rows.drop_through(last)

    # -- the chain ----------------------------------------------------------------------------------------------------

    async def _find_resume_offset(self, candidates: Set[int]) -> None:
        """Start at the greatest candidate that is a boundary or the end of the chain, or at the chain's beginning."""
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
        """Raise if the chain's last object is missing: nothing may be put behind a gap."""
        if self._newest is not None and await self._last_of(self._newest) != self._start - 1:
            self._sink.ends.pop(self._tp, None)
            raise SinkAwayError(f"the archive of {self._tp} has lost its object {self._name(self._newest)}")
        self._looked_at = time.monotonic()

    async def _last_of(self, start: int) -> int | None:
        """Last offset of the object with this start, None if it does not exist."""
        name = self._name(start)
        metadata = await self._sink.store.metadata(name)
        if metadata is None:
            return None
        text = metadata.get(LAST_OFFSET, "")
        if not text.isdecimal() or int(text) < start:
            raise SinkAwayError(f"{name} is no object of the archive (last-offset: {text!r}): move it away")
        return int(text)

    async def _start_before(self, offset: int) -> int | None:
        """Greatest start below an offset, found near it, without listing everything."""
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
