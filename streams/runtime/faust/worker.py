"""Interfaces through which the parts of a worker use the application without importing its module."""

from __future__ import annotations

from typing import Any, Protocol

import faust

from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.stats import RuntimeStats


class PartitionOwner(Protocol):
    """Interface for closing all partitions of this worker."""

    async def close_partitions(self) -> None:
        """Finish the turns (micro-batches) in progress and close all partitions."""


class WorkerApp(faust.App):
    """The application's interface for its consumer and its supervisor; `TransactionalApp` implements it."""

    batch_max_records: int
    waiting_max_bytes: int
    transaction_timeout_ms: int
    output_compression: str | None
    shared_transactions: bool
    changelog_delete_retention_s: float
    web_token: str | None
    stats: RuntimeStats
    pipelines: list[Pipeline]

    @property
    def partition_owner(self) -> PartitionOwner:
        """The object that closes this worker's partitions."""
        raise NotImplementedError

    @property
    def kafka_client(self) -> dict[str, Any]:
        """Connection settings for the Kafka clients that the runtime opens in addition to Faust's consumer."""
        raise NotImplementedError
