"""The records of the topic `source_epochs`: the newest epoch of each dataset's source, keyed by dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from streams.model.position import MAX_EPOCH


class BegunEpoch(Struct, frozen=True):
    """An epoch that `millrace connector epoch begin` has begun, and when (milliseconds since 1970)."""

    epoch: Annotated[int, Meta(ge=0, le=MAX_EPOCH)]
    begun_ms: int = 0


def newest_epoch(records: Iterable[tuple[bytes | None, bytes | None]], dataset: str) -> int:
    """Return the newest epoch of a dataset, given keys and values of records; 0 if no epoch has begun.

    Raises:
        ValueError: a record of the dataset cannot be read.
    """
    return max((begun.epoch for begun in begun_epochs(records, dataset)), default=0)


def begun_epochs(records: Iterable[tuple[bytes | None, bytes | None]], dataset: str) -> list[BegunEpoch]:
    """Return the epochs of a dataset that the records still name, the latest last.

    Raises:
        ValueError: a record of the dataset cannot be read.
    """
    values = [value for key, value in records if key == dataset.encode() and value is not None]
    return [msgspec.json.decode(value, type=BegunEpoch) for value in values]
