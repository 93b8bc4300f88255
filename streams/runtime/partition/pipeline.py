"""Definition of a pipeline: its co-partitioned source topics, the table with its state, and its output topics."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from faust.types import TP

from streams.runtime.partition.committer import Committer
from streams.runtime.partition.gate import OPENING_SLOT_S, OPENINGS_AT_A_TIME, Gate
from streams.runtime.partition.hashing import partition_of
from streams.runtime.partition.origins import OriginRule
from streams.runtime.partition.processor import Processor
from streams.runtime.partition.rounds import Rounds
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.store import PartitionStore


def transactional_id(app_id: str, pipeline: str, partition: int) -> str:
    """Return the transactional id of the only producer that may write to a partition of a pipeline."""
    return f"{app_id}-{pipeline}-{partition}"


class PartitionsApartError(Exception):
    """The partition numbers that were assigned for a pipeline's source topics and changelog do not match."""


class PartitionStores(Protocol):
    """Interface to the stores of the partitions that are open in this worker."""

    async def open_partition(self, partition: int) -> PartitionStore:
        """Open and return the store of a partition; if the caller is cancelled, the store may be open nevertheless."""

    def set_readable(self, partition: int) -> None:
        """Allow web views to read a partition's store, which is now up to date with its changelog."""

    async def close_partition(self, partition: int) -> None:
        """End the use of a partition's store if it is open; from the call on, web views cannot read it."""

    async def close_kept(self, *, besides: Collection[int] = ()) -> None:
        """Close the stores that are open and in no use, except those of some partitions."""


class StateTable(Protocol):
    """Interface to the table that keeps a pipeline's state."""

    codec: StateCodec[Any]
    partitions: int | None

    @property
    def stores(self) -> PartitionStores:
        """Stores of the partitions that are open in this worker."""

    @property
    def changelog_name(self) -> str:
        """Name of the table's changelog topic."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Co-partitioned source topics and how they are processed; topics partitioned differently need another pipeline.

    Attributes:
        name: name of the pipeline in transactional ids, logs and web pages.
        sources: names of the source topics, all with the same number of partitions.
        outputs: names of the output topics, with the same number of partitions as the source topics.
        table: the table that keeps the state; None for a stateless pipeline.
        processor: the application's logic.
        new_committer: function that creates the committer for a partition number.
        origin_rule: what the pipeline expects of the origin of its changes; None if it does not check the origin.
        gate: admits the turns (micro-batches) of this worker's partitions, unless there are rounds.
        rounds: transactions that this worker's partitions share; None if they do not commit to Kafka.
        opening_gate: admits this worker's partitions to being opened.
    """

    name: str
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    table: StateTable | None
    processor: Processor
    new_committer: Callable[[int], Committer]
    origin_rule: OriginRule | None = None
    gate: Gate = field(default_factory=Gate)
    rounds: Rounds | None = None
    opening_gate: Gate = field(default_factory=lambda: Gate(OPENINGS_AT_A_TIME, OPENING_SLOT_S))

    @property
    def changelog(self) -> str | None:
        """Name of the changelog topic; None for a stateless pipeline."""
        return None if self.table is None else self.table.changelog_name

    def admitted(self, partition: int, rank: Callable[[], float]) -> AbstractAsyncContextManager[None]:
        """Return the context of a partition's turn (micro-batch), which is entered when its time has come."""
        return self.gate.admitted(rank) if self.rounds is None else self.rounds.admitted(partition, rank)

    def misplaced(self, key: bytes, partition: int) -> str | None:
        """Return the reason why a key must not get a state in this partition; None if it may.

        Other records of the key go to the partition that the key hashes to, so a state elsewhere is never complete.
        """
        count = None if self.table is None else self.table.partitions
        if not count or (owner := partition_of(key, count)) == partition:
            return None
        return (
            f"key: belongs to partition {owner}, not {partition}; the record's producer must use Kafka's default "
            "partitioner (murmur2)"
        )

    def numbers(self, assigned: Collection[TP]) -> tuple[list[int], list[int]]:
        """Split the assigned partition numbers into those to process and those to keep as standbys.

        Raises:
            PartitionsApartError: the partition numbers that were assigned for co-partitioned topics do not match.
        """
        by_topic = {topic: sorted(tp.partition for tp in assigned if tp.topic == topic) for topic in self.sources}
        numbers = by_topic[self.sources[0]]
        stored = sorted(tp.partition for tp in assigned if tp.topic == self.changelog)
        if any(found != numbers for found in by_topic.values()) or (self.table and not {*numbers} <= {*stored}):
            raise PartitionsApartError(
                "the partition numbers assigned for co-partitioned topics do not match: "
                f"{by_topic}, changelog {self.changelog}: {stored}"
            )
        return numbers, [number for number in stored if number not in numbers]
