"""Agent `order`: applies changes of the table `orders` to the state of the orders.

Input: change topic of `orders`. State: `order_state`. Output: `order_final`, `order_amended`, `dead_letters`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from faust import StreamT

from streams.model.order import fold_order
from streams.runtime.partition.batch import RecordBatch


async def order(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
    """Submit each batch of order row changes to its partition's task; yield the number of records in the batch."""
    async for batch in batches:
        yield await batch.submit(fold_order)
