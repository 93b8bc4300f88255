"""A pipeline: co-partitioned source topics, the state they are folded into, and the output topics."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from faust.types import TP

from streams.runtime.partition.committer import Committer
from streams.runtime.partition.processor import Processor
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.store import PartitionStore


def transactional_id(app_id: str, pipeline: str, partition: int) -> str:
    """Transactional id of the only writer of a pipeline's partition."""
    return f"{app_id}-{pipeline}-{partition}"


class PartitionsApartError(Exception):
    """The assigned partition numbers of a pipeline's source topics and changelog differ."""


class PartitionStores(Protocol):
    """Stores of the partitions that are open in this worker."""

    def open_partition(self, partition: int) -> PartitionStore:
        """Open the store of a partition."""

    def set_readable(self, partition: int) -> None:
        """Allow views to read a partition, because its store is up to date with its changelog."""

    def close_partition(self, partition: int) -> None:
        """Close the store of a partition, if it is open."""


class StateTable(Protocol):
    """Interface of the table that keeps a pipeline's state."""

    codec: StateCodec[Any]
    partitions: int | None

    @property
    def stores(self) -> PartitionStores:
        """The stores of the partitions that are open in this worker."""

    @property
    def changelog_name(self) -> str:
        """Name of the changelog topic."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A part of an application that processes co-partitioned topics; topics partitioned otherwise need another one.

    Attributes:
        name: part of the transactional ids, and the name shown in views and logs.
        sources: names of the source topics; all have the same partition numbers.
        outputs: names of the output topics; they have the same partition numbers as the sources.
        table: the table that keeps the state; None for a stateless pipeline.
        processor: makes the application's decisions.
        new_committer: makes the committer of a partition task, given the partition number.
    """

    name: str
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    table: StateTable | None
    processor: Processor
    new_committer: Callable[[int], Committer]

    @property
    def changelog(self) -> str | None:
        """Name of the state's changelog topic."""
        return None if self.table is None else self.table.changelog_name

    def numbers(self, assigned: Collection[TP]) -> tuple[list[int], list[int]]:
        """Return the assigned partition numbers to process, and those to keep a standby for.

        Raises:
            PartitionsApartError: the assigned partition numbers of co-partitioned topics differ.
        """
        by_topic = {topic: sorted(tp.partition for tp in assigned if tp.topic == topic) for topic in self.sources}
        numbers = by_topic[self.sources[0]]
        stored = sorted(tp.partition for tp in assigned if tp.topic == self.changelog)
        if any(found != numbers for found in by_topic.values()) or (self.table and not {*numbers} <= {*stored}):
            raise PartitionsApartError(
                f"assigned partitions of co-partitioned topics differ: {by_topic}, {self.changelog}: {stored}"
            )
        return numbers, [number for number in stored if number not in numbers]
