"""Restores a partition's store from its changelog topic, up to the end that stood when the restoration began.

The first record of a changelog partition is its incarnation, a UUID written by the first owner. Compaction never
removes it, because its key is never written again, and no source's key can be equal, because it is not UTF-8. A store
remembers the incarnation it was restored from: one that belongs to another log (a topic that was deleted and made
anew) is recognised and emptied, whatever its offsets look like.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from streams.runtime.store import PartitionStore

log = logging.getLogger(__name__)

INCARNATION_KEY: Final = b"\xffincarnation"
POLL_MS: Final = 25
POLL_RECORDS: Final = 5_000
PROGRESS_INTERVAL_S: Final = 2.0


WriteFirst = Callable[[bytes], Awaitable[None]]
"""Writes the incarnation to an empty changelog, in a transaction of the partition's owner."""


class ChangelogDamagedError(Exception):
    """The changelog has lost its head: records were deleted that only compaction may remove."""


@dataclass
class RestoreProgress:
    """How far a restoration is. Offsets count transaction markers too, so `records` ends below `end - begin`."""

    begin: int = 0
    position: int = 0
    end: int = 0
    records: int = 0
    seconds: float = 0.0

    @property
    def remaining(self) -> int:
        """Offsets that are still to be read."""
        return max(0, self.end - self.position)


class Restoration:
    """One restoration of one store.

    The end is the last stable offset: the caller has fenced the former owner, so no transaction is open and nothing is
    added. It is reached by position, not by the last record, which may be a transaction marker.
    """

    def __init__(
        self,
        store: PartitionStore,
        changelog: TopicPartition,
        *,
        progress: RestoreProgress,
        write_first: WriteFirst,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._changelog = changelog
        self._progress = progress
        self._write_first = write_first
        self._on_progress = on_progress

    async def run(self, client: Mapping[str, Any]) -> None:
        """Bring the store up to the changelog's end.

        Raises:
            ChangelogDamagedError: the first record is not the incarnation.
        """
        consumer = aiokafka.AIOKafkaConsumer(
            **client,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=POLL_RECORDS,
        )
        await consumer.start()
        try:
            consumer.assign([self._changelog])
            await self._restore(consumer)
        finally:
            await consumer.stop()

    async def _restore(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        store, progress, changelog = self._store, self._progress, self._changelog
        first = (await consumer.beginning_offsets([changelog]))[changelog]
        progress.end = (await consumer.end_offsets([changelog]))[changelog]
        incarnation = await self._incarnation(consumer, first)
        if store.incarnation != incarnation:
            if store.incarnation is not None:
                log.warning("%s was made anew since the local state was written; restoring it in full", changelog)
            store.begin(incarnation)
        stored = store.changelog_offset
        if stored is not None and stored >= progress.end:
            # Every record is followed by its transaction's marker, so the log has lost what this store was told.
            log.warning(
                "%s ends at %d, before the local state's %d; restoring in full", changelog, progress.end, stored
            )
            store.begin(incarnation)
            stored = None
        progress.begin = progress.position = first if stored is None else max(first, stored + 1)
        await self._replay(consumer)

    async def _incarnation(self, consumer: aiokafka.AIOKafkaConsumer, first: int) -> bytes:
        """The changelog's incarnation; a new one is written to an empty changelog."""
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
        incarnation = uuid.uuid4().bytes
        await self._write_first(incarnation)
        return incarnation

    async def _replay(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        store, progress, changelog = self._store, self._progress, self._changelog
        began = reported = time.monotonic()
        consumer.seek(changelog, progress.begin)
        while progress.position < progress.end:
            for records in (await consumer.getmany(changelog, timeout_ms=POLL_MS)).values():
                entries = [(record.key, record.value) for record in records if record.key != INCARNATION_KEY]
                store.write(entries, records[-1].offset)
                progress.records += len(entries)
            progress.position = await consumer.position(changelog)
            progress.seconds = time.monotonic() - began
            if time.monotonic() - reported >= PROGRESS_INTERVAL_S:
                reported = time.monotonic()
                self._on_progress()
