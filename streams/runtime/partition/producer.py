"""A transactional producer that stops at once, retries at a growing interval, and reports requests without an answer.

aiokafka's producer is not enough in an outage. It retries a transactional request for ever, at one fixed interval, and
`stop` waits for that request; and it does not report that a request was sent twice. It is also slow: the two requests
that begin a transaction wait for each other. The sender below is aiokafka's own, except for these four points. The
canary test lists the private names that it uses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import aiokafka
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.producer.sender import AddPartitionsToTxnHandler, Sender
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    TxnOffsetCommitRequest,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from aiokafka.util import commit_structure_validate

FIRST_PAUSE_S: Final = 0.004
"""Pause before the first retry. Right after a commit, Kafka may reject the next transaction for a few milliseconds,
until the former one is complete; aiokafka's pauses of 20 and 100 ms would then be most of a turn's duration."""

LONGEST_PAUSE_S: Final = 0.5
PAUSE_SHARE: Final = 0.25
"""Pause before a retry, as a share of the time since the transaction began: a minute's outage costs about 140 requests
instead of 10,000, and no answer is noticed later than necessary by more than this share."""

METADATA_MAX_AGE_MS: Final = 60 * 60 * 1000
"""Interval of metadata requests without cause. A producer that has written nothing yet asks for all topics, and all
producers of a worker ask at about the same time, every five minutes by default. An error causes a request at once."""

CLOSE_TIMEOUT_S: Final = 2.0

OF_A_TRANSACTION: Final = (
    AddPartitionsToTxnRequest,
    ProduceRequest,
    AddOffsetsToTxnRequest,
    TxnOffsetCommitRequest,
    EndTxnRequest,
)
"""Requests that the broker still accepts in a later transaction of the same producer epoch. InitProducerId is not among
them: a late copy of it fences the producer, which loses nothing."""


def retry_pause_s(trying_s: float) -> float:
    """Return the pause before the next retry of a transaction that began `trying_s` seconds ago."""
    return min(max(FIRST_PAUSE_S, trying_s * PAUSE_SHARE), LONGEST_PAUSE_S)


class PartitionProducer(aiokafka.AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's transactional producer with another sender, for one partition number of its topics, or for all.

    Other settings are those of `AIOKafkaProducer`. Of the topics' metadata it keeps what it needs: its own partitions.
    All partitions of three topics take 0.8 MB with 500 of each, and a worker has a producer for each of its partitions.

    Args:
        partition: the partition number; None for a producer that several partitions share.

    Attributes:
        unanswered: name of the first request of a transaction that was sent and never answered; None if there is none.
    """

    _closed: bool

    def __init__(self, *, partition: int | None, **settings: Any) -> None:
        super().__init__(**settings, metadata_max_age_ms=METADATA_MAX_AGE_MS)
        self._partition_number = partition
        self._take_metadata = self.client.cluster.update_metadata
        if partition is not None:
            self.client.cluster.update_metadata = self._take_own_metadata
        self._sender = _PartitionSender(
            _WatchedClient(self.client),
            acks=-1,
            txn_manager=self._txn_manager,
            message_accumulator=self._message_accumulator,
            retry_backoff_ms=0,  # see _PartitionSender._retry_backoff
            request_timeout_ms=self._request_timeout_ms,
        )

    @property
    def unanswered(self) -> str | None:
        """Name of the first request of a transaction that was sent and never answered; None if there is none."""
        unanswered: str | None = self._sender.client.unanswered
        return unanswered

    @property
    def failure(self) -> KafkaError | None:
        """The error that ended the transaction or the producer, such as `ProducerFenced`; None if there is none.

        It may have come between two calls: the second one then raises an error that does not say why.
        """
        ending = self._txn_manager.wait_for_transaction_end()
        error = ending.exception() if ending is not None and ending.done() else None
        return error if isinstance(error, KafkaError) else None

    def _take_own_metadata(self, metadata: Any) -> None:
        metadata.topics = [
            (*about, [each for each in partitions if each[1] == self._partition_number])
            for *about, partitions in metadata.topics
        ]
        self._take_metadata(metadata)

    async def start(self) -> None:
        """Connect, and initialise the transactional id."""
        self._sender.client.trying_since = time.monotonic()
        await super().start()

    async def initialise(self) -> None:
        """Start, with a new epoch: Kafka aborts the id's open transaction, and fences the producers before this one."""
        await self.start()
        # aiokafka requests the producer id, which fences former owners, only when a transaction begins.
        await self.begin_transaction()
        await self.abort_transaction()

    async def begin_transaction(self) -> None:
        """Begin a transaction; retries are frequent again."""
        self._sender.client.trying_since = time.monotonic()
        await super().begin_transaction()

    def add_offsets(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: str) -> asyncio.Future[None]:
        """Add the group's offsets to the transaction together with its first records, and send them after the records.

        Before the commit, the caller must await the returned future, as it must those of the records.
        """
        sent: asyncio.Future[None] = self._txn_manager.add_offsets_to_txn(commit_structure_validate(offsets), group)
        sent.add_done_callback(_note_seen)  # if a record fails first, nobody awaits it
        return sent

    async def stop(self) -> None:
        """Stop at once: drop batches that were not sent, and close all connections, whatever they wait for."""
        if self._closed:
            return
        self._closed = True
        await self._sender.close()
        transports = [each._writer.transport for each in self.client._conns.values() if each._writer is not None]
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.client.close()
        finally:
            for transport in transports:
                transport.abort()  # a peer that reads nothing would keep it open


def _note_seen(ended: asyncio.Future[None]) -> None:
    """Look at a future's error, so that asyncio does not log that nobody did."""
    if not ended.cancelled():
        ended.exception()


class _WatchedClient:
    """An aiokafka client that notes unanswered requests and paces updates of the metadata.

    Attributes:
        unanswered: name of the first request of a transaction that was sent and never answered; None if there is none.
        trying_since: start of the current transaction, or of the producer, of the monotonic clock.
        tasks: updates of the metadata under way.
    """

    def __init__(self, client: Any) -> None:
        self.unanswered: str | None = None
        self.trying_since = time.monotonic()
        self.tasks: set[asyncio.Task[Any]] = set()
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @property
    def pause_s(self) -> float:
        """Pause before the next retry."""
        return retry_pause_s(time.monotonic() - self.trying_since)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request and return its answer; note a request that was sent but not answered."""
        try:
            return await self._client.send(node_id, request, **options)
        except NodeNotReadyError:
            raise  # there was no connection, so nothing was sent
        except KafkaError:
            if isinstance(request, OF_A_TRANSACTION):
                self.unanswered = self.unanswered or type(request).__name__
            raise

    def force_metadata_update(self) -> asyncio.Task[Any]:
        """Update the metadata, and pause: the sender asks again at once while a partition has no leader."""
        task = asyncio.create_task(self._update_and_pause())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _update_and_pause(self) -> Any:
        is_updated = await self._client.force_metadata_update()
        await asyncio.sleep(self.pause_s)
        return is_updated


class _PartitionSender(Sender):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's sender, which knows the tasks that it has started."""

    client: _WatchedClient

    def __init__(self, client: _WatchedClient, **settings: Any) -> None:
        self._requests: set[asyncio.Task[Any]] = set()
        super().__init__(client, **settings)

    @property
    def _retry_backoff(self) -> float:
        return self.client.pause_s

    @_retry_backoff.setter
    def _retry_backoff(self, fixed_s: float) -> None:
        """Ignore aiokafka's fixed interval."""

    def _maybe_do_transactional_request(self) -> asyncio.Task[Any] | None:
        manager = self._txn_manager
        partitions, group = manager.partitions_to_add(), manager.consumer_group_to_add()
        task: asyncio.Task[Any] | None
        if partitions and group is not None:
            task = asyncio.create_task(self._add_partitions_and_offsets(partitions, group))
        elif self._has_records and not partitions and manager.offsets_to_commit() is not None:
            task = None
        else:
            task = super()._maybe_do_transactional_request()
        if task is not None:
            self._track(task)
        return task

    @property
    def _has_records(self) -> bool:
        """Whether records are on their way; the offsets wait for them.

        The broker asks the coordinator whether a transaction is open before it takes its records or offsets. If both
        come at once, it may refuse one of them for a moment, because it keeps one such question per producer.
        """
        return bool(self._in_flight or self._message_accumulator._batches)

    async def _add_partitions_and_offsets(self, partitions: Any, group: str) -> None:
        """Send both requests at once. They use the same connection, so the coordinator answers them in this order."""
        answers = await asyncio.gather(
            self._do_add_partitions_to_txn(partitions), self._do_add_offsets_to_txn(group), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _send_produce_req(self, node_id: int, batches: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._track(task)
        await super()._send_produce_req(node_id, batches)

    async def _do_add_partitions_to_txn(self, tps: Any) -> Any:
        node_id = await self._find_coordinator(CoordinationType.TRANSACTION, self._txn_manager.transactional_id)
        return await _AddPartitions(self, tps).do(node_id)

    def _track(self, task: asyncio.Task[Any]) -> None:
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def close(self) -> None:
        """Cancel everything that was started, instead of waiting for it."""
        tasks = {*self._requests, *self.client.tasks}
        if self._sender_task is not None and not self._sender_task.done():
            tasks.add(self._sender_task)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class _AddPartitions(AddPartitionsToTxnHandler):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's handler without its fixed pause of 20 ms while the former transaction is being completed."""

    def handle_response(self, response: Any) -> float | None:
        """Return the pause before the next try, None if there is nothing to repeat."""
        pause_s = super().handle_response(response)
        return None if pause_s is None else self._default_backoff
