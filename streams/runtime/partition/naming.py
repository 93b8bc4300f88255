"""Name a shared transactional id in a partition's changelog, and end the one that is named there before it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from streams.runtime.partition.committer import Committer
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.rounds import Rounds
from streams.runtime.partition.shared_ids import SHARED_ID
from streams.runtime.partition.sources import ChangelogSourceIds
from streams.runtime.partition.view import StoredPartitionView
from streams.runtime.partition.waiting import finish
from streams.runtime.state.store import PartitionStore

T = TypeVar("T")

MOST_READINGS: Final = 3
"""Readings of a changelog after which it must not name another id: nobody can write one after the first reading."""


class NameChangedError(Exception):
    """A shared id was named in a changelog although its partition's own id had been initialised before."""


async def read_when_over(store: PartitionStore, read: Callable[[], Awaitable[T]], rounds: Rounds | None) -> T:
    """Restore a store, with no transaction of a shared id that its changelog names under way meanwhile.

    Args:
        store: the store; its partition's own id was initialised, so its changelog gets no further names.
        read: restores the store up to the end of its changelog.
        rounds: ends shared ids.
    """
    if rounds is None:
        return await read()
    for _ in range(MOST_READINGS):
        ended = store.source_ids.get(SHARED_ID)
        if ended is not None:
            await rounds.end(ended)
        result = await read()
        if store.source_ids.get(SHARED_ID) in (None, ended):
            return result
    raise NameChangedError(f"the changelog of {store.path} names another shared id each time that it is read")


async def name_shared_id(
    committer: Committer, view: StoredPartitionView | None, pipeline: Pipeline, limit_s: float
) -> bool:
    """Let a partition take part in rounds, by a transaction of its own that names the worker's present shared id.

    Returns:
        whether there was a new id to name.

    Raises:
        TimeoutError: it took longer than `limit_s` seconds, so its outcome is unknown.
    """
    rounds = pipeline.rounds
    if rounds is None or view is None or (name := rounds.name_for(view.number)) is None:
        return False
    ids = ChangelogSourceIds(committer, view, pipeline)
    await finish(ids.keep_source_ids({SHARED_ID: name}), limit_s)
    rounds.named(view.number, name)
    return True
