"""What is processed together: co-partitioned source topics, the state they are folded into, and where results go."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from faust.types import TP

from streams.runtime.committer import Committer
from streams.runtime.flow import Flow
from streams.runtime.table import BatchTable


def transactional_id(app_id: str, pipeline: str, partition: int) -> str:
    """The id under which Kafka knows the one writer of a pipeline's partition."""
    return f"{app_id}-{pipeline}-{partition}"


class PartitionsApartError(Exception):
    """The source topics and the changelog of a pipeline do not share their partition numbers."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """One part of an application. An application has several if it reads topics that are not partitioned alike.

    Attributes:
        name: part of the transactional ids, and of what views and logs say.
        sources: names of the source topics; all have the same partition numbers.
        outputs: names of the topics written, of the same partition numbers.
        table: the state, None for a pipeline that keeps none.
        flow: the application's decisions.
        new_committer: makes the committer for one opening of a partition.
    """

    name: str
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    table: BatchTable | None
    flow: Flow
    new_committer: Callable[[int], Committer]

    @property
    def changelog(self) -> str | None:
        """Name of the state's changelog topic."""
        return None if self.table is None else self.table.changelog_topic.get_topic_name()

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
