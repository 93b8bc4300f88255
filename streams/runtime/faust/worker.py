"""What the parts of a worker need of the application around them."""

from __future__ import annotations

from typing import Any, Protocol

import faust

from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.stats import RuntimeStats


class PartitionOwner(Protocol):
    """Who opens and closes the partitions of this worker."""

    async def close_partitions(self) -> None:
        """Finish what is under way and close all."""


class WorkerApp(faust.App):
    """The application as its consumer and its supervisor know it; `app.TransactionalApp` fills it in."""

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
        """Connection settings of the clients that the runtime opens beside Faust's consumer."""
        raise NotImplementedError
