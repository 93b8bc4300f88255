"""Agent `order_details`: applies changes of product lines to the state of their orders.

Input: change topic of `order_details`. State: `order_state`. Output: `order_final`, `order_amended`, `dead_letters`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from faust import StreamT

from streams.model.order import fold_order_detail
from streams.runtime.partition.batch import RecordBatch


async def order_details(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
    """Submit each batch of product line changes to its partition's task; yield the number of records in the batch."""
    async for batch in batches:
        yield await batch.submit(fold_order_detail)
