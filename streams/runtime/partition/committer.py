"""Make the results of a turn (one micro-batch of a partition) durable, all or nothing.

`KafkaTransactions` is the committer of applications that write to Kafka. Applications with another sink supply their
own committer: its outputs and offsets must become durable together, and its `open` must end a former owner's right to
write before its `committed` returns the offsets to resume from.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import aiokafka
from aiokafka.errors import IllegalOperation, KafkaError
from aiokafka.structs import TopicPartition

from streams.runtime.partition.batch import OutputRecord

log = logging.getLogger(__name__)

PREPARED_BATCH_BYTES: Final = 512 * 1024
"""Size of a prepared record batch, below the brokers' default limit of 1 MB."""

LARGEST_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""A dead letter carries a whole rejected record, which may be larger than a prepared batch."""

RETRY_BACKOFF_MS: Final = 4
"""Right after a commit, Kafka 4.x may reject a producer's next transaction once (transaction verification). The
producer retries after this time; the client's default of 100 ms would be most of a turn."""

CLOSE_TIMEOUT_S: Final = 2.0


class Committer(Protocol):
    """Interface through which a partition task uses its sink."""

    async def open(self) -> None:
        """Fence every former owner: afterwards, nothing that a former owner has begun can become durable."""

    async def committed(self) -> Mapping[str, int | None]:
        """Next offset to process, keyed by source topic; None where nothing was committed. Call it after `open`."""

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Make outputs and source offsets durable together; return the last offset written, keyed by output topic.

        After an error the outcome is unknown, until `open` of a new committer resolves it.
        """

    async def check(self) -> None:
        """Check the sink; called about once a second. Raise if another writer has changed the sink."""

    async def close(self) -> None:
        """Release connections within a bounded time. Errors are logged, not raised."""


class KafkaTransactions:
    """A transactional producer for one partition; outputs go to the same partition number."""

    def __init__(
        self,
        *,
        partition: int,
        group: str,
        transactional_id: str,
        transaction_timeout_ms: int,
        client: Mapping[str, Any],
        read_committed_offsets: Callable[[int], Awaitable[Mapping[str, int | None]]],
    ) -> None:
        self.partition = partition
        self.group = group
        self._read_committed_offsets = read_committed_offsets
        self._producer = aiokafka.AIOKafkaProducer(
            **client,
            transactional_id=transactional_id,
            transaction_timeout_ms=transaction_timeout_ms,
            compression_type="zstd",
            max_batch_size=PREPARED_BATCH_BYTES,
            max_request_size=LARGEST_REQUEST_BYTES,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )

    async def open(self) -> None:
        """Initialise the transactional id: this aborts a former owner's open transaction and fences its producer."""
        await self._producer.start()
        # aiokafka requests its producer id, which fences former owners, with the first transaction only.
        await self._producer.begin_transaction()
        await self._producer.abort_transaction()

    async def committed(self) -> Mapping[str, int | None]:
        """Offsets that the group has committed for this partition, keyed by source topic."""
        return await self._read_committed_offsets(self.partition)

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Run step 4 of a turn (see `task.py`): one transaction."""
        try:
            return await self._commit(outputs, offsets)
        except IllegalOperation as error:
            # aiokafka raises this for a producer that has failed meanwhile; it is not a `KafkaError`.
            raise KafkaError(f"the transaction cannot continue: {error}") from error

    async def check(self) -> None:
        """Do nothing: Kafka keeps committed data."""

    async def _commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        by_topic: dict[str, list[OutputRecord]] = defaultdict(list)
        for record in outputs:
            by_topic[record.topic].append(record)
        producer = self._producer
        await producer.begin_transaction()
        pending = [await self._send(topic, records) for topic, records in by_topic.items()]
        # aiokafka commits even if a produce request failed, so every future is awaited first.
        written = {topic: await _last_offset(batches) for topic, batches in zip(by_topic, pending, strict=True)}
        if offsets:
            await producer.send_offsets_to_transaction(
                {TopicPartition(topic, self.partition): offset for topic, offset in offsets.items()}, self.group
            )
        await producer.commit_transaction()
        return written

    async def _send(self, topic: str, records: Sequence[OutputRecord]) -> list[tuple[Awaitable[Any], int]]:
        """Send records as prepared batches, with one future per batch instead of one per record."""
        producer, partition = self._producer, self.partition
        sent: list[tuple[Awaitable[Any], int]] = []
        builder = producer.create_batch()
        for record in records:
            headers = list(record.headers)
            if builder.append(key=record.key, value=record.value, timestamp=None, headers=headers) is None:
                sent.append((await producer.send_batch(builder, topic, partition=partition), builder.record_count()))
                builder = producer.create_batch()
                added = builder.append(key=record.key, value=record.value, timestamp=None, headers=headers)
                assert added is not None, "an empty batch takes any record"
        builder.close()
        sent.append((await producer.send_batch(builder, topic, partition=partition), builder.record_count()))
        return sent

    async def close(self) -> None:
        """Stop the producer without resolving a transaction in doubt: the next `open` does that."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._producer.stop()
        except Exception as error:
            log.info("producer of partition %d did not close cleanly: %r", self.partition, error)
            await self._producer.client.close()  # which stop() did not get to


async def _last_offset(batches: Sequence[tuple[Awaitable[Any], int]]) -> int:
    last = -1
    for future, count in batches:
        last = (await future).offset + count - 1  # a prepared batch answers with its first offset
    return last
