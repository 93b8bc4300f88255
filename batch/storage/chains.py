"""Lists the objects of a topic partition in the archive (`streams.model.archive_chain`), without Spark."""

from __future__ import annotations

from typing import Final

from batch.storage.objects import ObjectFolder
from streams.model.archive_chain import before_object, start_of

_BACK: Final = 1_000_000
"""How many offsets before the position the listing starts.

If none of the listed objects starts at or before the position, all objects are listed."""


def objects_from(chain: ObjectFolder, position: int) -> dict[int, str]:
    """Return the names of the objects that may have offsets from `position` on, and of some earlier ones, by start.

    The time that this takes does not grow with the age of the archive.
    """
    first = max(0, position - _BACK)
    found = _by_start(chain.names(after=_name_before(first)))
    if first and not any(start <= position for start in found):
        found = _by_start(chain.names())
    return found


def _by_start(names: list[str]) -> dict[int, str]:
    return {start: name for name in names if (start := start_of(name)) is not None}


def _name_before(start: int) -> str:
    return before_object("", 0, start).rpartition("/")[2]
