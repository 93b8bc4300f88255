"""In-memory table of all payment methods, which every worker fills from the table's change topic.

The topic is read without a consumer group, and only its committed records: from the beginning to its current end before
the worker's partitions open, and continuously afterwards. The table is small (about a dozen rows).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from mode import Service
from msgspec import Struct

from streams.model.change import Change, Malformed, SignedInt64, change_decoder
from streams.model.position import Position
from streams.model.published import PaymentMethod

log = logging.getLogger(__name__)

POLL_MS: Final = 500
RETRY_S: Final = 1.0


class PaymentMethodColumns(Struct, gc=False):
    """Columns of the source table `payment_method` that are published with orders."""

    id: SignedInt64
    name: str | None = None
    bank: str | None = None


class PaymentMethods(Service):
    """In-memory table of payment methods by id, kept up to date from their change topic.

    Args:
        topic: change topic of the table.
        client: connection settings for an aiokafka client.
    """

    def __init__(self, *, topic: str, client: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.topic = topic
        self.unreadable = 0
        self._client = client
        self._decode = change_decoder(PaymentMethodColumns, key_of=lambda row: str(row.id))
        self._known: dict[int, PaymentMethod] = {}
        self._positions: dict[int, Position] = {}
        self._loaded = asyncio.Event()
        self._news = asyncio.Condition()

    @property
    def counts(self) -> Counter[str]:
        """Number of `known` payment methods and of `unreadable` records."""
        return Counter(known=len(self._known), unreadable=self.unreadable)

    def get(self, id_: int) -> PaymentMethod | None:
        """Return the payment method with this id, or None if it is not known yet."""
        return self._known.get(id_)

    async def ready(self) -> None:
        """Wait until all records that were in the topic when the worker started have been read."""
        await self._loaded.wait()

    async def wait_for(self, ids: set[int], timeout_s: float) -> None:
        """Wait until all ids are known, but at most `timeout_s` seconds."""
        if ids <= self._known.keys() or timeout_s <= 0:
            return
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: ids <= self._known.keys())
        except TimeoutError:
            return

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Apply one record of the change topic; ignore outdated changes, and count and log unreadable records."""
        change = self._decode(key, value)
        if isinstance(change, Malformed):
            self.unreadable += 1
            log.warning("ignored an unreadable record of %s: %s", self.topic, change.reason)
        elif isinstance(change, Change):
            row = change.row
            if change.position < self._positions.get(row.id, change.position):
                return
            self._positions[row.id] = change.position
            if change.deleted:
                self._known.pop(row.id, None)
            else:
                self._known[row.id] = PaymentMethod(row.id, row.name, row.bank)

    @Service.task
    async def _follow(self) -> None:
        while not self.should_stop:
            try:
                await self._read()
            except (KafkaError, OSError) as error:
                log.warning("cannot read topic %s: %r; retrying in %.0f s", self.topic, error, RETRY_S)
                await self.sleep(RETRY_S)

    async def _read(self) -> None:
        consumer = aiokafka.AIOKafkaConsumer(
            self.topic,
            **self._client,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            tps = sorted(consumer.assignment())
            ends = await consumer.end_offsets(tps)
            began = time.monotonic()
            while not self.should_stop:
                await self._take(await consumer.getmany(timeout_ms=POLL_MS))
                if not self._loaded.is_set():
                    positions = [await consumer.position(tp) >= ends[tp] for tp in tps]
                    if all(positions):
                        log.info("loaded %d payment methods in %.2f s", len(self._known), time.monotonic() - began)
                        self._loaded.set()
        finally:
            await consumer.stop()

    async def _take(self, polled: dict[TopicPartition, list[Any]]) -> None:
        if not polled:
            return
        for records in polled.values():
            for record in records:
                self.apply(record.key, record.value)
        async with self._news:
            self._news.notify_all()
