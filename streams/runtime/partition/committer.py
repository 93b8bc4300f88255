"""Commit the results of a turn (one micro-batch of a partition) atomically.

`KafkaTransactions` is the committer for applications that write to Kafka. An application with another sink supplies its
own committer, which must commit outputs and source offsets atomically. Its `open` must fence all former owners before
its `committed` returns the offsets to resume from.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka.errors import IllegalOperation, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.producer import PartitionProducer

log = logging.getLogger(__name__)

PREPARED_BATCH_BYTES: Final = 512 * 1024
"""Maximum size of a record batch that is built before it is sent; below the brokers' default limit of 1 MB."""

LARGEST_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of a produce request. A dead letter contains a whole rejected record, which may be large."""


class Committer(Protocol):
    """Interface through which a partition task commits to its sink.

    Attributes:
        notes: short texts that are committed together with the offsets, keyed by source topic; `committed` reads them
            again. A sink may ignore them if its pipeline has no `OriginRule`.
    """

    notes: dict[str, str]

    @property
    def must_reopen(self) -> bool:
        """Whether a new committer must be opened before the next commit, although the last one succeeded."""

    async def open(self) -> None:
        """Fence all former owners of the partition, so that their unfinished writes can no longer be committed."""

    async def committed(self) -> Mapping[str, int | None]:
        """Return the next offset to process of each source topic, None if none was committed; call `open` first."""

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Commit outputs and source offsets atomically; return the last offset written, keyed by output topic.

        After an error, the outcome is unknown until a new committer has been opened.
        """

    async def source_ids(self) -> Mapping[str, str]:
        """Return the known ids of the source topics that the committed offsets belong to; call `committed` first.

        Not used if the pipeline has a changelog, which then contains the ids.
        """

    async def keep_source_ids(self, ids: Mapping[str, str]) -> None:
        """Keep the ids of the source topics beside the committed offsets."""

    async def check(self) -> None:
        """Raise an error if another writer has changed the sink; called about once a second."""

    async def close(self) -> None:
        """Close all connections within a limited time; log errors instead of raising them."""


class KafkaTransactions:
    """A committer with a transactional Kafka producer, which writes to one partition number of the output topics."""

    def __init__(
        self,
        *,
        partition: int,
        group: str,
        transactional_id: str,
        transaction_timeout_ms: int,
        compression: str | None,
        client: Mapping[str, Any],
        read_committed_offsets: Callable[[int], Awaitable[Mapping[str, tuple[int | None, str]]]],
    ) -> None:
        self.partition = partition
        self.group = group
        self.notes: dict[str, str] = {}
        self._read_committed_offsets = read_committed_offsets
        self._producer = PartitionProducer(
            partition=partition,
            **client,
            transactional_id=transactional_id,
            transaction_timeout_ms=transaction_timeout_ms,
            compression_type=compression,
            max_batch_size=PREPARED_BATCH_BYTES,
            max_request_size=LARGEST_REQUEST_BYTES,
        )

    @property
    def must_reopen(self) -> bool:
        """Whether a request of a transaction was not answered, so that a copy of it may still reach the broker.

        aiokafka then sends the request again. All transactions of a producer have the same epoch, so a proxy or another
        box in between that delivers the first copy late can end a later transaction half-way, or set its offsets back.
        Opening a new committer raises the epoch, and the broker refuses the copy. The epoch is not raised here: if the
        group has given the partition to another worker in the meantime, that would fence the worker, and this one would
        go on with a state that is out of date. Opening reads the state and the offsets again.
        """
        return self._producer.unanswered is not None

    async def open(self) -> None:
        """Initialise the transactional id, which aborts a former owner's open transaction and fences its producer."""
        await self._producer.start()
        # aiokafka requests the producer id, which fences former owners, only when a transaction begins.
        await self._producer.begin_transaction()
        await self._producer.abort_transaction()

    async def committed(self) -> Mapping[str, int | None]:
        """Return the offsets that the consumer group has committed for this partition, keyed by source topic."""
        found = await self._read_committed_offsets(self.partition)
        self.notes = {topic: note for topic, (_, note) in found.items()}
        return {topic: offset for topic, (offset, _) in found.items()}

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Commit outputs and source offsets in one Kafka transaction; return the last offset written to each topic."""
        try:
            return await self._commit(outputs, offsets)
        except IllegalOperation as error:
            # aiokafka raises this error, which is not a `KafkaError`, if the producer has failed in the meantime.
            raise self._producer.failure or KafkaError(
                f"the transaction of partition {self.partition} cannot continue: {error}"
            ) from error

    async def source_ids(self) -> Mapping[str, str]:
        """Return nothing, because the ids are in the changelog."""
        return {}

    async def keep_source_ids(self, ids: Mapping[str, str]) -> None:
        """Do nothing, because the ids are in the changelog."""

    async def check(self) -> None:
        """Do nothing, because no other writer can change records committed to Kafka."""

    async def _commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        assert not self.must_reopen, "a late copy of the unanswered request could end this transaction"
        by_topic: dict[str, list[OutputRecord]] = defaultdict(list)
        for record in outputs:
            by_topic[record.topic].append(record)
        producer = self._producer
        await producer.begin_transaction()
        offsets_sent = self._send_offsets(offsets) if offsets else None  # first, to begin with them at once
        pending = [await self._send(topic, records) for topic, records in by_topic.items()]
        # aiokafka commits even if a request has failed, so every future is awaited first.
        written = {topic: await _last_offset(batches) for topic, batches in zip(by_topic, pending, strict=True)}
        if offsets_sent is not None:
            await asyncio.shield(offsets_sent)
        await producer.commit_transaction()
        return written

    def _send_offsets(self, offsets: Mapping[str, int]) -> asyncio.Future[None]:
        found = {
            TopicPartition(topic, self.partition): OffsetAndMetadata(offset, self.notes.get(topic, ""))
            for topic, offset in offsets.items()
        }
        return self._producer.add_offsets(found, self.group)

    async def _send(self, topic: str, records: Sequence[OutputRecord]) -> list[tuple[Awaitable[Any], int]]:
        """Send records in prepared batches; return the future and the record count of each batch.

        One future per batch costs less time than one per record.
        """
        producer, partition = self._producer, self.partition
        sent: list[tuple[Awaitable[Any], int]] = []
        builder = producer.create_batch()
        for record in records:
            headers = list(record.headers)
            if builder.append(key=record.key, value=record.value, timestamp=None, headers=headers) is None:
                sent.append((await producer.send_batch(builder, topic, partition=partition), builder.record_count()))
                builder = producer.create_batch()
                added = builder.append(key=record.key, value=record.value, timestamp=None, headers=headers)
                assert added is not None, "an empty batch must accept any record"
        builder.close()
        sent.append((await producer.send_batch(builder, topic, partition=partition), builder.record_count()))
        return sent

    async def close(self) -> None:
        """Stop the producer; an unfinished transaction is left to the next owner's `open`, which aborts it."""
        try:
            await self._producer.stop()
        except Exception as error:
            log.info("producer of partition %d did not close cleanly: %r", self.partition, error)


async def _last_offset(batches: Sequence[tuple[Awaitable[Any], int]]) -> int:
    last = -1
    for future, count in batches:
        last = (await future).offset + count - 1  # the future returns the first offset of its batch
    return last
