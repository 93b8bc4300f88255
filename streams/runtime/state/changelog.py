"""Restore a partition's store from its changelog topic, up to the end offset at the time it begins.

The first record of a changelog partition is its incarnation, a UUID written by the first owner. Compaction never
removes that record, because its key is never written again; and no source's key can equal its key, which is not valid
UTF-8. A store remembers the incarnation it was restored from. So a store that was built from
another changelog (its topic was deleted and created again) is detected and emptied, whatever its offsets.

A store is also emptied if it is so outdated that compaction may have removed deletions which the store never saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from streams.runtime.state.codec import StateCodec
from streams.runtime.state.store import Entry, PartitionStore

log = logging.getLogger(__name__)

INCARNATION_KEY: Final = b"\xffincarnation"
POLL_MS: Final = 25
POLL_RECORDS: Final = 5_000
FOLLOW_POLL_MS: Final = 500
PROGRESS_INTERVAL_S: Final = 2.0
RECENT_ENTRIES: Final = 10_000
RECENT_OFFSETS: Final = 2 * RECENT_ENTRIES
"""Offsets of `RECENT_ENTRIES` transactions of one record each: a transaction marker follows every record."""

FOLLOW_PAUSE_S: Final = 1.0

AGE_MARGIN_S: Final = 3600.0
"""Margin for the difference between the clocks of this worker and of the broker, which compacts."""


WriteFirst = Callable[[bytes], Awaitable[None]]
"""Function that writes the incarnation to an empty changelog, in a transaction of the partition's owner."""


class ChangelogDamagedError(Exception):
    """The changelog does not begin with its incarnation: records were deleted that only compaction may remove."""


@dataclass
class RestoreProgress:
    """Progress of a restoration. Offsets include transaction markers, so `records` stays below `end - begin`."""

    begin: int = 0
    position: int = 0
    end: int = 0
    records: int = 0
    seconds: float = 0.0

    @property
    def remaining(self) -> int:
        """Number of offsets still to be read."""
        return max(0, self.end - self.position)


class Restoration:
    """Restores one store: once for a partition task, continuously for a standby.

    A restoration ends at the last stable offset: the caller has fenced the former owner, so no transaction is open and
    nothing is added. The consumer's position, not the last record, shows that the end is reached: the last
    offset may be that of a transaction marker.

    Args:
        changelog_delete_retention_s: how many seconds compaction keeps deletions.
        write_first: writes the incarnation to an empty changelog; None for a standby, which never writes.

    Attributes:
        recent: the newest entries read, including all those after the store's settled offset.
    """

    def __init__(
        self,
        store: PartitionStore,
        changelog: TopicPartition,
        codec: StateCodec[Any],
        *,
        changelog_delete_retention_s: float,
        progress: RestoreProgress,
        write_first: WriteFirst | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.recent: deque[Entry] = deque(maxlen=RECENT_ENTRIES)
        self._store = store
        self._changelog = changelog
        self._codec = codec
        self._oldest_store_s = max(0.0, changelog_delete_retention_s - AGE_MARGIN_S)
        self._progress = progress
        self._write_first = write_first
        self._on_progress = on_progress

    async def run(self, client: Mapping[str, Any]) -> None:
        """Restore the store up to the changelog's end.

        Raises:
            ChangelogDamagedError: the first record is not the incarnation.
        """
        async with _reader(client, self._changelog) as consumer:
            await self._restore(consumer)

    async def follow(self, client: Mapping[str, Any]) -> None:
        """Keep the store up to date with the changelog until cancelled.

        Raises:
            ChangelogDamagedError: the first record is not the incarnation.
        """
        async with _reader(client, self._changelog) as consumer:
            while not await self._has_begun(consumer):  # noqa: ASYNC110 - it is seen from outside only
                await asyncio.sleep(FOLLOW_PAUSE_S)
            await self._restore(consumer)
            while True:
                for records in (await consumer.getmany(self._changelog, timeout_ms=FOLLOW_POLL_MS)).values():
                    self._apply(records)
                self._progress.position = await consumer.position(self._changelog)
                self._progress.end = max(consumer.last_stable_offset(self._changelog) or 0, self._progress.position)
                self._store.note_up_to_date()

    async def _has_begun(self, consumer: aiokafka.AIOKafkaConsumer) -> bool:
        """Whether the changelog has an incarnation; the first owner may have died while it wrote one."""
        return await self._find_incarnation(consumer, await self._measure(consumer)) is not None

    async def _measure(self, consumer: aiokafka.AIOKafkaConsumer) -> int:
        """Update the end in the progress; return the changelog's first offset."""
        first = await consumer.beginning_offsets([self._changelog])
        self._progress.end = (await consumer.end_offsets([self._changelog]))[self._changelog]
        return int(first[self._changelog])

    async def _restore(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        store, progress, changelog = self._store, self._progress, self._changelog
        first = await self._measure(consumer)
        incarnation = await self._find_incarnation(consumer, first) or await self._new_incarnation()
        reason = self._unfit(incarnation)
        if reason is not None:
            log.warning("%s: %s; restoring in full", changelog, reason)
        if reason is not None or store.incarnation is None:
            store.begin(incarnation)
        done = store.changelog_offset
        if done is not None:
            # It is unknown which follow-ups are done for a standby's store, or for a store in its first life.
            done = max(min(done, store.settled_offset or 0), done - RECENT_OFFSETS)
        progress.begin = progress.position = first if done is None else max(first, done + 1)
        await self._replay(consumer)
        await store.complete_timers(self._codec)

    def _unfit(self, incarnation: bytes) -> str | None:
        """Reason why the store must be emptied; None if it is empty or can be continued."""
        store = self._store
        stored = store.changelog_offset
        if store.incarnation is None:
            return None
        if store.incarnation != incarnation:
            return "its topic was recreated since the local state was written"
        if stored is not None and stored >= self._progress.end:
            # Every record is followed by its transaction's marker, so the log has lost records of this store.
            return f"it ends at offset {self._progress.end}, before the local state's offset {stored}"
        if stored is not None and store.age_s > self._oldest_store_s:
            return f"the local state was not kept up to date for {store.age_s / 3600:.0f} h"
        return None

    async def _find_incarnation(self, consumer: aiokafka.AIOKafkaConsumer, first: int) -> bytes | None:
        """Incarnation of the changelog, None if it is empty."""
        consumer.seek(self._changelog, first)
        while await consumer.position(self._changelog) < self._progress.end:
            records = await consumer.getmany(self._changelog, timeout_ms=POLL_MS, max_records=1)
            for record in records.get(self._changelog, []):
                if record.key != INCARNATION_KEY:
                    raise ChangelogDamagedError(
                        f"{self._changelog} begins at offset {record.offset} without its incarnation: records were "
                        "deleted; it must be compacted only (cleanup.policy=compact)"
                    )
                return bytes(record.value)
        return None

    async def _new_incarnation(self) -> bytes:
        assert self._write_first is not None, "a standby waits until there is an incarnation"
        incarnation = uuid.uuid4().bytes
        await self._write_first(incarnation)
        return incarnation

    async def _replay(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        progress, changelog = self._progress, self._changelog
        began = reported = time.monotonic()
        consumer.seek(changelog, progress.begin)
        while progress.position < progress.end:
            for records in (await consumer.getmany(changelog, timeout_ms=POLL_MS)).values():
                self._apply(records)
            progress.position = await consumer.position(changelog)
            progress.seconds = time.monotonic() - began
            if time.monotonic() - reported >= PROGRESS_INTERVAL_S:
                reported = time.monotonic()
                self._on_progress()

    def _apply(self, records: Sequence[Any]) -> None:
        entries = [(record.key, record.value) for record in records if record.key != INCARNATION_KEY]
        self._store.restore(entries, records[-1].offset, self._codec)
        self._progress.records += len(entries)
        self.recent.extend(entries)


async def earliest_offsets(client: Mapping[str, Any], tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
    """Return the first offset of each topic partition.

    Faust's consumer is not used for this, because the request would wait behind a long poll of 1.5 s.
    """
    consumer = aiokafka.AIOKafkaConsumer(**client)
    await consumer.start()
    try:
        found: Mapping[TopicPartition, int] = await consumer.beginning_offsets(tps)
    finally:
        await consumer.stop()
    return found


@contextlib.asynccontextmanager
async def _reader(client: Mapping[str, Any], changelog: TopicPartition) -> AsyncIterator[aiokafka.AIOKafkaConsumer]:
    """A consumer of committed records of one changelog partition, without a group."""
    consumer = aiokafka.AIOKafkaConsumer(
        **client,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=POLL_RECORDS,
    )
    await consumer.start()
    try:
        consumer.assign([changelog])
        yield consumer
    finally:
        await consumer.stop()
