"""Restore a partition's store from the partition's changelog topic.

The first record of each changelog partition is its incarnation: a UUID, written by the first owner of the partition.
Compaction never removes this record, because its key is never written again. No source record can have the same key,
because the key is not valid UTF-8. A store remembers the incarnation of the changelog that it was restored from. If the
topic is deleted and created again, the incarnations differ, and the store is emptied, whatever its offset.

For each source topic, a record whose key begins with `SOURCE_KEY` has the topic's id in a header. Kafka deletes
committed offsets together with a topic, so only the changelog shows that a source topic was created again. The value
of such a record is an empty state, because a worker of an earlier release takes the record for a state.

A store is also emptied if it is so old that compaction may have removed tombstones that the store never read.
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
from streams.runtime.state.threads import OPENING, in_thread

log = logging.getLogger(__name__)

INCARNATION_KEY: Final = b"\xffincarnation"
SOURCE_KEY: Final = b"\xffsource:"
"""First part of the key of a record with the id of a source topic; the second part is the topic's name."""

CONTROL_BYTE: Final = b"\xff"
"""First byte of the keys of changelog records that are not states. It occurs in no UTF-8 text."""

POLL_MS: Final = 25
POLL_RECORDS: Final = 5_000
FOLLOW_POLL_MS: Final = 500
PROGRESS_INTERVAL_S: Final = 2.0
RECENT_ENTRIES: Final = 10_000
RECENT_OFFSETS: Final = 2 * RECENT_ENTRIES
"""Number of offsets that `RECENT_ENTRIES` transactions of one record occupy: a marker follows each transaction."""

FOLLOW_PAUSE_S: Final = 1.0

AGE_MARGIN_S: Final = 3600.0
"""Safety margin for clock differences between this worker and the brokers, which compact the changelog."""


WriteFirst = Callable[[bytes], Awaitable[None]]
"""A function that writes the incarnation UUID to an empty changelog, in a transaction of the partition's owner."""

Admission = Callable[[], contextlib.AbstractAsyncContextManager[None]]
"""A function that returns a context, which is entered when its turn has come."""


class ChangelogDamagedError(Exception):
    """The changelog does not begin with its incarnation record (a UUID), or has a record that cannot be a state."""


@dataclass
class RestoreProgress:
    """Progress of restoring a store. Offsets include transaction markers, so `records` is less than `end - begin`."""

    begin: int = 0
    position: int = 0
    end: int = 0
    records: int = 0
    seconds: float = 0.0

    @property
    def remaining(self) -> int:
        """Number of changelog offsets still to be read."""
        return max(0, self.end - self.position)


class Restoration:
    """Restores a store from its changelog: once for a partition task, continuously for a standby.

    For a partition task, the restoration ends at the last stable offset. The caller has fenced all former owners, so no
    transaction is open and no record is added. The restoration is complete when the consumer's position reaches the end
    offset, not when a certain record is read, because the last offset may be that of a transaction marker.

    Args:
        changelog_delete_retention_s: how many seconds compaction keeps tombstones.
        write_first: writes the incarnation UUID to an empty changelog; None for a standby, which never writes.
        admitted: returns the context in which more than a few records are read.

    Attributes:
        recent: the newest entries read, including all entries after the store's `settled_offset`.
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
        admitted: Admission = contextlib.nullcontext,
    ) -> None:
        self.recent: deque[Entry] = deque(maxlen=RECENT_ENTRIES)
        self._store = store
        self._changelog = changelog
        self._codec = codec
        self._oldest_store_s = max(0.0, changelog_delete_retention_s - AGE_MARGIN_S)
        self._progress = progress
        self._write_first = write_first
        self._on_progress = on_progress
        self._admitted = admitted

    async def run(self, client: Mapping[str, Any]) -> None:
        """Restore the store up to the current end of the changelog.

        Raises:
            ChangelogDamagedError: the changelog's first record is not its incarnation record.
        """
        async with _reader(client, self._changelog) as consumer:
            await self._restore(consumer)

    async def follow(self, client: Mapping[str, Any]) -> None:
        """Restore the store, and keep it up to date with the changelog until cancelled.

        Raises:
            ChangelogDamagedError: the changelog's first record is not its incarnation record.
        """
        async with _reader(client, self._changelog) as consumer:
            while not await self._has_begun(consumer):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(FOLLOW_PAUSE_S)
            await self._restore(consumer)
            while True:
                for records in (await consumer.getmany(self._changelog, timeout_ms=FOLLOW_POLL_MS)).values():
                    self._apply(records)
                self._progress.position = await consumer.position(self._changelog)
                self._progress.end = max(consumer.last_stable_offset(self._changelog) or 0, self._progress.position)
                self._store.note_up_to_date()

    async def _has_begun(self, consumer: aiokafka.AIOKafkaConsumer) -> bool:
        """Return whether the changelog has its first record; an owner may have died before writing that record."""
        return await self._find_incarnation(consumer, await self._measure(consumer)) is not None

    async def _measure(self, consumer: aiokafka.AIOKafkaConsumer) -> int:
        """Update the end offset in the restore progress; return the first offset of the changelog."""
        first = await consumer.beginning_offsets([self._changelog])
        self._progress.end = (await consumer.end_offsets([self._changelog]))[self._changelog]
        return int(first[self._changelog])

    async def _restore(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        store, progress, changelog = self._store, self._progress, self._changelog
        first = await self._measure(consumer)
        incarnation = await self._find_incarnation(consumer, first) or await self._new_incarnation()
        reason = self._unfit(incarnation)
        if reason is not None:
            log.warning("changelog %s: %s; restoring in full", changelog, reason)
        if reason is not None or store.incarnation is None:
            await in_thread(OPENING, store.begin, incarnation)
        done = store.changelog_offset
        if done is not None:
            # Without a settled offset (a former standby, or a new store), it is unknown which follow-ups are done.
            done = max(min(done, store.settled_offset or 0), done - RECENT_OFFSETS)
        progress.begin = progress.position = first if done is None else max(first, done + 1)
        async with self._admitted() if progress.remaining > POLL_RECORDS else contextlib.nullcontext():
            await self._replay(consumer)
        await store.complete_timers(self._codec)

    def _unfit(self, incarnation: bytes) -> str | None:
        """Return the reason why the store must be emptied; None if the store is empty or can be updated."""
        store = self._store
        stored = store.changelog_offset
        if store.incarnation is None:
            return None
        if store.incarnation != incarnation:
            return "the topic was recreated after the local state was written"
        if stored is not None and stored >= self._progress.end:
            # A transaction marker follows every record, so an intact changelog ends after the stored offset.
            return f"the topic ends at offset {self._progress.end}, before the local state's offset {stored}"
        if stored is not None and store.age_s > self._oldest_store_s:
            return f"the local state has not been updated for {store.age_s / 3600:.0f} h"
        return None

    async def _find_incarnation(self, consumer: aiokafka.AIOKafkaConsumer, first: int) -> bytes | None:
        """Return the incarnation UUID from the changelog's first record; None if the changelog is empty.

        Raises:
            ChangelogDamagedError: the changelog's first record is not its incarnation record.
        """
        consumer.seek(self._changelog, first)
        while await consumer.position(self._changelog) < self._progress.end:
            records = await consumer.getmany(self._changelog, timeout_ms=POLL_MS, max_records=1)
            for record in records.get(self._changelog, []):
                if record.key != INCARNATION_KEY:
                    raise ChangelogDamagedError(
                        f"changelog {self._changelog} begins at offset {record.offset} without its incarnation record: "
                        "records were deleted, but the topic must be compacted only (cleanup.policy=compact); "
                        "restore the topic, or start with a new application id"
                    )
                return bytes(record.value)
        return None

    async def _new_incarnation(self) -> bytes:
        assert self._write_first is not None, (
            "a standby must wait until the partition's owner has written the incarnation"
        )
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
        if any(record.key is None for record in records):
            raise ChangelogDamagedError(
                f"changelog {self._changelog} has an unreadable record without a key among offsets "
                f"{records[0].offset} to {records[-1].offset}; only the application itself may write to the topic"
            )
        entries = [(record.key, record.value) for record in records if not record.key.startswith(CONTROL_BYTE)]
        if len(entries) < len(records):
            self._apply_source_ids(records)
        self._store.restore(entries, records[-1].offset, self._codec)
        self._progress.records += len(entries)
        self.recent.extend(entries)

    def _apply_source_ids(self, records: Sequence[Any]) -> None:
        for record in records:
            if record.key.startswith(SOURCE_KEY):
                self._store.keep_source_ids({topic: raw.decode() for topic, raw in record.headers})


@contextlib.asynccontextmanager
async def _reader(client: Mapping[str, Any], changelog: TopicPartition) -> AsyncIterator[aiokafka.AIOKafkaConsumer]:
    """Open a consumer for the committed records of one changelog partition, without a consumer group."""
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
