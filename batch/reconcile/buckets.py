"""Finds the rows in which two sides differ, without transferring all rows.

A side is a set of rows, each with a key and a digest of its content. Rows are divided into buckets by the first
hexadecimal digits of their key's MD5. For each bucket, a side returns the number of rows and the sum of their digests;
only buckets that differ are split further, and finally compared row by row. Two different sets of rows agree in all
counts and sums with a probability of one in 2^52.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

COARSE_DIGITS: Final = 2
"""Hexadecimal digits of the first comparison, by 256 buckets."""

FINE_DIGITS: Final = 4
"""Hexadecimal digits of the second comparison, if differing buckets have more than `ROWS_READ_MAX` rows."""

ROWS_READ_MAX: Final = 20_000
"""Buckets with up to this many rows in total are read row by row at once."""


class Bucket(NamedTuple):
    """The number of rows in a bucket, and the sum of the first 52 bits of their digests."""

    rows: int
    total: int


class Side(Protocol):
    """One of two sets of rows. Keys and digests are texts, in the same form on both sides."""

    def buckets(self, digits: int, within: Collection[str] | None = None) -> dict[str, Bucket]:
        """Return buckets by the first digits of the key's MD5: all, or only those that begin with one of `within`."""
        ...

    def rows(self, within: Collection[str]) -> dict[str, str]:
        """Return the digests, by key, of all rows whose key's MD5 begins with one of `within`."""
        ...


class Pair(NamedTuple):
    """A row's digest on each side; None if that side lacks the row."""

    source: str | None
    lake: str | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The rows in which two sides differ.

    Attributes:
        source_rows, lake_rows: total number of rows on each side.
        rows: the differing rows, by key.
        within: the buckets of the differing rows, for a second comparison.
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
    if within and sum(max(ours.get(b, _NONE).rows, theirs.get(b, _NONE).rows) for b in within) > ROWS_READ_MAX:
        within = _differing(source.buckets(FINE_DIGITS, within), lake.buckets(FINE_DIGITS, within))
    rows = differing_rows(source, lake, within) if within else {}
    return Difference(source_rows=counts[0], lake_rows=counts[1], rows=rows, within=frozenset(within))


def differing_rows(source: Side, lake: Side, within: Collection[str]) -> dict[str, Pair]:
    """Return, by key, the rows of the buckets `within` in which source and lake differ now."""
    ours, theirs = source.rows(within), lake.rows(within)
    pairs = {key: Pair(ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys()}
    return {key: pair for key, pair in pairs.items() if pair.source != pair.lake}


_NONE = Bucket(0, 0)


def _differing(ours: Mapping[str, Bucket], theirs: Mapping[str, Bucket]) -> set[str]:
    return {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}


def key_values(key: str) -> tuple[str | None, ...]:
    """Split a key's canonical text, a concatenation of `-` for NULL and `<length>:<text>`, into its values."""
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
    """Return the canonical text of a key whose values are integers or texts, as in the records of a change topic."""
    texts = (None if value is None else str(int(value) if isinstance(value, bool) else value) for value in values)
    return "".join("-" if text is None else f"{len(text)}:{text}" for text in texts)
