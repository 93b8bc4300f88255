"""Agent `customers`: copies changed customers to Redis.

Input: change topic of `customers`. Output: Redis keys `customer:{id}`, topic `dead_letters`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from faust import StreamT

from streams.model.lookup import customer_entry
from streams.runtime.partition.batch import RecordBatch


async def customers(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
    """Submit each batch of changes to its partition's task; yield the number of records in the batch."""
    async for batch in batches:
        yield await batch.submit(customer_entry)
