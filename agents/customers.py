"""Agent `customers`: turns changes of customers into look-ups.

in: change topic of `customers` · out: look-ups `customer:{id}` in Redis, `dead_letters`
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from faust import StreamT

from streams.model.lookup import customer_entry
from streams.runtime.partition.batch import RecordBatch


async def customers(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
    """Submit each batch of changes to its partition; yield the number of records."""
    async for batch in batches:
        yield await batch.submit(customer_entry)
