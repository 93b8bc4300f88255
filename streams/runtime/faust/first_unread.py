"""Kafka timestamps of the first records that a worker has not read, for partitions that are not being polled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

READ_TIMEOUT_MS: Final = 1_000
_FETCH_BYTES: Final = 64 * 1024


class FirstUnread:
    """Reads the timestamp of one record per partition, and remembers it for as long as the offset stays the same.

    Args:
        client: returns the connection settings of the Kafka client.
    """

    def __init__(self, client: Callable[[], Mapping[str, Any]]) -> None:
        self._client = client
        self._known: dict[TopicPartition, tuple[int, int]] = {}
        self._reader: aiokafka.AIOKafkaConsumer | None = None

    async def timestamps(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Return the timestamp, in ms since 1970, of the first committed record from each offset on.

        A partition without one, or whose record did not arrive in time, is missing.

        Raises:
            KafkaError, OSError: Kafka is unavailable.
        """
        self._known = {tp: known for tp, known in self._known.items() if offsets.get(tp) == known[0]}
        unknown = {tp: offset for tp, offset in offsets.items() if tp not in self._known}
        if unknown:
            reader = await self._opened()
            reader.assign(list(unknown))
            for tp, offset in unknown.items():
                reader.seek(tp, offset)
            for tp, records in (await reader.getmany(timeout_ms=READ_TIMEOUT_MS)).items():
                self._known[tp] = unknown[tp], records[0].timestamp
            reader.unsubscribe()  # fetch nothing more
        return {tp: timestamp for tp, (_, timestamp) in self._known.items()}

    async def _opened(self) -> aiokafka.AIOKafkaConsumer:
        if self._reader is None:
            reader = aiokafka.AIOKafkaConsumer(
                **self._client(),
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=_FETCH_BYTES,
            )
            try:
                await reader.start()
            except BaseException:
                await reader.stop()
                raise
            self._reader = reader
        return self._reader

    async def close(self) -> None:
        """Close the client."""
        if self._reader is not None:
            with contextlib.suppress(KafkaError, OSError):
                await self._reader.stop()
