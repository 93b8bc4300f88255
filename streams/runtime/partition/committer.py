"""Commit the results of a turn (one micro-batch of a partition) atomically.

`KafkaTransactions` is the committer for applications that write to Kafka. An application with another sink supplies its
own committer, which must commit outputs and source offsets atomically. Its `open` must fence all former owners before
its `committed` returns the offsets to resume from.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka.errors import IllegalOperation, KafkaError

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.producer import PartitionProducer
from streams.runtime.partition.rounds import Rounds
from streams.runtime.partition.transaction import LARGEST_REQUEST_BYTES, PREPARED_BATCH_BYTES, Part, send_all

log = logging.getLogger(__name__)


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
    """A committer with a transactional Kafka producer, which writes to one partition number of the output topics.

    Args:
        rounds: transactions that the worker's partitions share, in which a turn may take part; None if there are none.
    """

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
        rounds: Rounds | None = None,
    ) -> None:
        self.partition = partition
        self.group = group
        self.notes: dict[str, str] = {}
        self._read_committed_offsets = read_committed_offsets
        self._rounds = rounds
        self._is_repeated = False
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
        return self._is_repeated or self._producer.unanswered is not None

    async def open(self) -> None:
        """Initialise the transactional id, which aborts a former owner's open transaction and fences its producer."""
        if self._rounds is not None:
            self._rounds.forget(self.partition)
        await self._producer.initialise()

    async def committed(self) -> Mapping[str, int | None]:
        """Return the offsets that the consumer group has committed for this partition, keyed by source topic."""
        found = await self._read_committed_offsets(self.partition)
        self.notes = {topic: note for topic, (_, note) in found.items()}
        return {topic: offset for topic, (offset, _) in found.items()}

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Commit outputs and source offsets in one Kafka transaction; return the last offset written to each topic."""
        notes = {topic: (offset, self.notes.get(topic, "")) for topic, offset in offsets.items()}
        part = Part(partition=self.partition, outputs=outputs, offsets=notes)
        shared = None if self._rounds is None else await self._rounds.commit(part)
        if shared is not None:
            self._is_repeated |= shared.is_repeated
            return shared.written
        try:
            return await self._commit(part)
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

    async def _commit(self, part: Part) -> Mapping[str, int]:
        assert not self.must_reopen, "a late copy of the unanswered request could end this transaction"
        [written] = await send_all(self._producer, self.group, [part])
        await self._producer.commit_transaction()
        return written

    async def close(self) -> None:
        """Stop the producer; an unfinished transaction is left to the next owner's `open`, which aborts it."""
        try:
            await self._producer.stop()
        except Exception as error:
            log.info("producer of partition %d did not close cleanly: %r", self.partition, error)
