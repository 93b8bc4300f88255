"""A transaction manager for Faust that leaves all transactions to the partitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.transport.consumer import TransactionManager
from faust.types import TP

from streams.runtime.faust.worker import WorkerApp


class PartitionTransactions(TransactionManager):
    """A Faust transaction manager that only handles rebalances; each partition commits its own transactions."""

    app: WorkerApp

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish the turns (micro-batches) in progress and close all partitions."""
        await self.app.partition_owner.close_partitions()

    async def on_rebalance(self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP]) -> None:
        """Do nothing: the supervisor opens partitions outside this callback, to avoid delaying heartbeats."""

    async def commit(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Return True without committing, because each partition commits its own transactions."""
        return True

    async def send(self, topic: str, key: Any, value: Any, partition: Any, *args: Any, **_: Any) -> Any:
        """Send a record outside any transaction, for records that belong to no turn, such as those of `faust send`."""
        return await self.producer.send(topic, key, value, partition, *args)
