"""Agent `payment_methods`: copies changed payment methods to Redis.

Input: change topic of `payment_method`. Output: Redis keys `payment_method:{id}`, topic `dead_letters`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from faust import StreamT

from streams.model.lookup import payment_method_entry
from streams.runtime.partition.batch import RecordBatch


async def payment_methods(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
    """Submit each batch of changes to its partition's task; yield the number of records in the batch."""
    async for batch in batches:
        yield await batch.submit(payment_method_entry)
