"""The producer of dead letters for sinks other than Kafka, which write them before what they commit themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiokafka

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.transaction import LARGEST_REQUEST_BYTES


class DeadLetterProducer:
    """A producer that all partitions of a worker share; it connects when the first dead letter is written."""

    def __init__(self, app: TransactionalApp) -> None:
        self._app = app
        self._producer: aiokafka.AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def keep(self, records: Sequence[OutputRecord]) -> None:
        """Write dead letters to Kafka and wait for acknowledgement; after a failure they may be written twice."""
        producer = await self._started()
        sent = [await producer.send(r.topic, r.value, key=r.key, headers=list(r.headers)) for r in records]
        await asyncio.gather(*sent)

    async def _started(self) -> aiokafka.AIOKafkaProducer:
        async with self._starting:  # several partitions may commit at the same time
            if self._producer is None:
                producer = aiokafka.AIOKafkaProducer(
                    **self._app.kafka_client,
                    enable_idempotence=True,
                    compression_type=self._app.output_compression,
                    max_request_size=LARGEST_REQUEST_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Close the connections to Kafka."""
        if self._producer is not None:
            await self._producer.stop()
