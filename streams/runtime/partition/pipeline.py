"""What is processed together: co-partitioned source topics, the state they are folded into, and where results go."""

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
    """The id under which Kafka knows the one writer of a pipeline's partition."""
    return f"{app_id}-{pipeline}-{partition}"


class PartitionsApartError(Exception):
    """The source topics and the changelog of a pipeline do not share their partition numbers."""


class PartitionStores(Protocol):
    """The stores of the partitions that are open in this worker."""

    def open_partition(self, partition: int) -> PartitionStore:
        """Open the store of a partition."""

    def set_readable(self, partition: int) -> None:
        """Let views read a partition: its store equals its changelog."""

    def close_partition(self, partition: int) -> None:
        """Close the store of a partition, if it is open."""


class StateTable(Protocol):
    """What a pipeline needs of the table that keeps its state."""

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
    """One part of an application. An application has several if it reads topics that are not partitioned alike.

    Attributes:
        name: part of the transactional ids, and of what views and logs say.
        sources: names of the source topics; all have the same partition numbers.
        outputs: names of the topics written, of the same partition numbers.
        table: the state, None for a pipeline that keeps none.
        processor: the application's decisions.
        new_committer: makes the committer for one task of a partition.
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
        """The partition numbers to process, and those to stand by for, out of what the group has assigned.

        Raises:
            PartitionsApartError: topics that belong together were assigned apart.
        """
        by_topic = {topic: sorted(tp.partition for tp in assigned if tp.topic == topic) for topic in self.sources}
        numbers = by_topic[self.sources[0]]
        stored = sorted(tp.partition for tp in assigned if tp.topic == self.changelog)
        if any(found != numbers for found in by_topic.values()) or (self.table and not {*numbers} <= {*stored}):
            raise PartitionsApartError(
                f"partitions that belong together were assigned apart: {by_topic}, {self.changelog}: {stored}"
            )
        return numbers, [number for number in stored if number not in numbers]
