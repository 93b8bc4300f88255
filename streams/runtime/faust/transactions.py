"""Faust's transaction manager without transactions of its own: each partition commits by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.transport.consumer import TransactionManager
from faust.types import TP

from streams.runtime.faust.worker import WorkerApp


class PartitionTransactions(TransactionManager):
    """Faust's callbacks around a rebalance. Each partition has transactions of its own."""

    app: WorkerApp

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish the turns in progress and close every partition."""
        await self.app.partition_owner.close_partitions()

    async def on_rebalance(self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP]) -> None:
        """Do nothing: the supervisor opens partitions outside this callback, so that heartbeats continue."""

    async def commit(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit nothing: each partition commits its own transactions."""
        return True

    async def send(self, topic: str, key: Any, value: Any, partition: Any, *args: Any, **_: Any) -> Any:
        """Send a record outside any transaction, because it belongs to no turn: for example, one of `faust send`."""
        return await self.producer.send(topic, key, value, partition, *args)
