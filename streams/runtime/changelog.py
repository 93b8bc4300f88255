"""Restores a partition's store from its changelog topic, up to the end that stood when the restoration began."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from streams.runtime.store import PartitionStore

log = logging.getLogger(__name__)

POLL_MS: Final = 25
POLL_RECORDS: Final = 5_000
PROGRESS_INTERVAL_S: Final = 2.0


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


async def restore(
    store: PartitionStore,
    changelog: TopicPartition,
    *,
    client: Mapping[str, Any],
    progress: RestoreProgress,
    on_progress: Callable[[], None] = lambda: None,
) -> None:
    """Replay the changelog's tail into `store`.

    The end is the last stable offset: the caller has fenced the former owner, so no transaction is open and nothing
    is added. The end is reached by position, not by the last record, which may be a transaction marker.
    """
    consumer = aiokafka.AIOKafkaConsumer(
        **client,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 1024 * 1024,
        max_poll_records=POLL_RECORDS,
    )
    await consumer.start()
    try:
        consumer.assign([changelog])
        progress.end = (await consumer.end_offsets([changelog]))[changelog]
        first = (await consumer.beginning_offsets([changelog]))[changelog]
        stored = store.changelog_offset
        if stored is not None and stored >= progress.end:
            log.warning("%s ends at %d, before the store's %d: it was made anew", changelog, progress.end, stored)
            store.wipe()
            stored = None
        progress.begin = progress.position = first if stored is None else max(first, stored + 1)
        await _replay(consumer, store, changelog, progress, on_progress)
    finally:
        await consumer.stop()


async def _replay(
    consumer: aiokafka.AIOKafkaConsumer,
    store: PartitionStore,
    changelog: TopicPartition,
    progress: RestoreProgress,
    on_progress: Callable[[], None],
) -> None:
    began = reported = time.monotonic()
    consumer.seek(changelog, progress.begin)
    while progress.position < progress.end:
        polled = await consumer.getmany(changelog, timeout_ms=POLL_MS)
        for records in polled.values():
            store.write([(record.key, record.value) for record in records], records[-1].offset)
            progress.records += len(records)
        progress.position = await consumer.position(changelog)
        progress.seconds = time.monotonic() - began
        if time.monotonic() - reported >= PROGRESS_INTERVAL_S:
            reported = time.monotonic()
            on_progress()
