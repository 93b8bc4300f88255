"""Interface between the partition tasks and the worker that hosts them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from streams.runtime.partition.batch import BatchOwner
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.queue import BatchQueue
from streams.runtime.partition.sources import Source
from streams.runtime.state.changelog import RestoreProgress, WriteFirst
from streams.runtime.state.store import Entry, PartitionStore


class PolledTask(BatchOwner, Protocol):
    """A partition task as seen by the consumer that polls for it."""

    @property
    def partition(self) -> int: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def queue(self) -> BatchQueue: ...
    def fail(self, error: Exception) -> None: ...


class Host(Protocol):
    """Interface through which a partition task uses its worker."""

    @property
    def app_id(self) -> str: ...
    @property
    def turn_max_records(self) -> int: ...
    @property
    def waiting_max_bytes(self) -> int: ...
    @property
    def fenced_wait_s(self) -> float: ...
    @property
    def commit_timeout_s(self) -> float: ...
    async def confirm_ownership(self) -> None: ...
    async def restore(
        self,
        pipeline: Pipeline,
        partition: int,
        store: PartitionStore,
        progress: RestoreProgress,
        write_first: WriteFirst,
    ) -> Sequence[Entry]: ...
    async def sources(self, partition: int, topics: Collection[str]) -> Mapping[str, Source]: ...
    async def seek(self, task: PolledTask, offsets: Mapping[str, int]) -> None: ...
    def on_committed(self, partition: int, offsets: Mapping[str, int]) -> None: ...
    def on_room(self) -> None: ...
