"""Interfaces between the parts of a worker and its application."""

from __future__ import annotations

from typing import Any, Protocol

import faust

from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.stats import RuntimeStats


class PartitionOwner(Protocol):
    """Opens and closes the partitions of this worker."""

    async def close_partitions(self) -> None:
        """Finish the turns in progress and close all partitions."""


class WorkerApp(faust.App):
    """The application as its consumer and supervisor see it; `app.TransactionalApp` implements it."""

    batch_max_records: int
    waiting_max_bytes: int
    transaction_timeout_ms: int
    changelog_delete_retention_s: float
    stats: RuntimeStats
    pipelines: list[Pipeline]

    @property
    def partition_owner(self) -> PartitionOwner:
        """The partitions of this worker."""
        raise NotImplementedError

    @property
    def kafka_client(self) -> dict[str, Any]:
        """Connection settings of the Kafka clients that the runtime opens in addition to Faust's consumer."""
        raise NotImplementedError
