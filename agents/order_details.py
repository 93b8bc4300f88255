"""Agent `order_details`: folds changes of product lines into the state of their orders.

in: change topic of `order_details` · state: `order_state` · out: `order_final`, `order_amended`, `dead_letters`
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from faust import StreamT

from streams.model.order import fold_order_detail
from streams.runtime.partition.batch import RecordBatch


async def order_details(batches: StreamT[RecordBatch]) -> AsyncIterator[int]:
    """Submit each batch of changes to its partition, to be folded as product lines; yield the number of records."""
    async for batch in batches:
        yield await batch.submit(fold_order_detail)
