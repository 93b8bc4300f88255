"""Write the first record of a changelog, unless records were processed before: then the state was lost."""

from __future__ import annotations

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.committer import Committer
from streams.runtime.state.changelog import INCARNATION_KEY


class StateLostError(Exception):
    """The changelog is empty although the consumer group has committed offsets, so the partition's state was lost."""


async def write_incarnation(committer: Committer, changelog: str, partition: int, incarnation: bytes) -> None:
    """Write the first record of an empty changelog.

    Raises:
        StateLostError: the consumer group has committed offsets, so records were processed before.
    """
    committed = await committer.committed()
    if any(offset for offset in committed.values()):
        raise StateLostError(
            f"partition {partition} of changelog topic {changelog} is empty, but the consumer group has "
            f"committed offsets {dict(committed)}: restore the topic, or start with a new application id"
        )
    await committer.commit([OutputRecord(changelog, INCARNATION_KEY, incarnation)], {})
