"""Agent `payment_methods`: turns changes of payment methods into look-ups.

in: change topic of `payment_method` · out: look-ups `payment_method:{id}` in Redis, `dead_letters`
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from faust import StreamT

from streams.model.lookup import payment_method_entry
from streams.runtime.partition.batch import RecordBatch


async def payment_methods(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
    """Submit each batch of changes to its partition; yield the number of records."""
    async for batch in batches:
        yield await batch.submit(payment_method_entry)
