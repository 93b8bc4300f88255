"""Finds the rows that two sides do not share, without moving all of them.

A side is a set of rows, each a key and a digest of its content. Rows fall into buckets by the first hexadecimal digits
of their key's MD5. Two sides tell the number of rows and the sum of the digests of each bucket; only buckets that
differ are looked at closer, at last row by row. Two different sets that agree in count and sum everywhere would need
an accident of one in 2^52.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

COARSE_DIGITS: Final = 2
"""256 buckets."""

FINE_DIGITS: Final = 4

FEW_ROWS: Final = 20_000
"""Buckets with up to so many rows are read row by row at once."""


class Bucket(NamedTuple):
    """The rows of a bucket and the sum of their digests' first 52 bits."""

    rows: int
    total: int


class Side(Protocol):
    """One of two sets of rows. Keys and digests are texts; both sides write them in the same way."""

    def buckets(self, digits: int, within: Collection[str] | None = None) -> dict[str, Bucket]:
        """Buckets by the first digits of the key's MD5, all or those that begin with one of `within`."""
        ...

    def rows(self, within: Collection[str]) -> dict[str, str]:
        """Digest by key of all rows whose key's MD5 begins with one of `within`."""
        ...


class Pair(NamedTuple):
    """A row's digest on both sides; None where there is no such row."""

    source: str | None
    lake: str | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What two sides do not share.

    Attributes:
        within: the buckets in which the rows are, to look again.
    """

    source_rows: int
    lake_rows: int
    rows: Mapping[str, Pair] = field(default_factory=dict)
    within: frozenset[str] = frozenset()


def difference(source: Side, lake: Side) -> Difference:
    """Compare two sides."""
    ours, theirs = source.buckets(COARSE_DIGITS), lake.buckets(COARSE_DIGITS)
    counts = sum(b.rows for b in ours.values()), sum(b.rows for b in theirs.values())
    within = _differing(ours, theirs)
    if within and sum(max(ours.get(b, _NONE).rows, theirs.get(b, _NONE).rows) for b in within) > FEW_ROWS:
        within = _differing(source.buckets(FINE_DIGITS, within), lake.buckets(FINE_DIGITS, within))
    rows = differing_rows(source, lake, within) if within else {}
    return Difference(source_rows=counts[0], lake_rows=counts[1], rows=rows, within=frozenset(within))


def differing_rows(source: Side, lake: Side, within: Collection[str]) -> dict[str, Pair]:
    """The rows of some buckets that differ now."""
    ours, theirs = source.rows(within), lake.rows(within)
    pairs = {key: Pair(ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys()}
    return {key: pair for key, pair in pairs.items() if pair.source != pair.lake}


_NONE = Bucket(0, 0)


def _differing(ours: Mapping[str, Bucket], theirs: Mapping[str, Bucket]) -> set[str]:
    return {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}


def key_values(key: str) -> tuple[str | None, ...]:
    """The values of a key's canonical text: `-` for NULL, else `<length>:<text>`, one after the other."""
    values: list[str | None] = []
    at = 0
    while at < len(key):
        if key[at] == "-":
            values.append(None)
            at += 1
            continue
        colon = key.index(":", at)
        end = colon + 1 + int(key[at:colon])
        values.append(key[colon + 1 : end])
        at = end
    return tuple(values)


def key_text(values: Collection[object]) -> str:
    """The canonical text of a key from whole numbers and texts, as a change topic delivers them."""
    texts = (None if value is None else str(int(value) if isinstance(value, bool) else value) for value in values)
    return "".join("-" if text is None else f"{len(text)}:{text}" for text in texts)
