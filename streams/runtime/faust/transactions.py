"""Faust's transaction manager without transactions of its own: each partition commits by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.transport.consumer import TransactionManager
from faust.types import TP

from streams.runtime.faust.worker import WorkerApp


class PartitionTransactions(TransactionManager):
    """Faust's hooks around a rebalance; the transactions themselves are the partitions'."""

    app: WorkerApp

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish the turns under way and let go of every partition."""
        await self.app.partition_owner.close_partitions()

    async def on_rebalance(self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP]) -> None:
        """Nothing: the supervisor opens partitions, outside this callback, where heartbeats go on."""

    async def commit(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit nothing."""
        return True

    async def send(self, topic: str, key: Any, value: Any, partition: Any, *args: Any, **_: Any) -> Any:
        """Send a record that belongs to no turn, such as one of `faust send`: outside any transaction."""
        return await self.producer.send(topic, key, value, partition, *args)
