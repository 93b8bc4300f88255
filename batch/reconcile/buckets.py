"""Finds the rows that differ between two sets of rows, without transferring all rows.

Each set of rows is called a side; every row has a key and a digest of its content. Rows are divided into buckets by the
first hexadecimal digits of their key's MD5. For each bucket, a side returns the number of rows and the sum of their
digests. Only buckets that differ are split further, and finally compared row by row. The probability that a difference
is missed, because counts and sums are equal by chance, is one in 2^52.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

COARSE_DIGITS: Final = 2
"""Number of hexadecimal digits that select a bucket in the first comparison, which has 256 buckets."""

FINE_DIGITS: Final = 4
"""Number of hexadecimal digits used to split differing buckets that have more than `ROWS_READ_MAX` rows in total."""

ROWS_READ_MAX: Final = 20_000
"""Maximum number of rows in all differing buckets; above it, the buckets are split before rows are compared."""


class Bucket(NamedTuple):
    """The number of rows in a bucket, and the sum of the first 52 bits of their digests."""

    rows: int
    total: int


class Side(Protocol):
    """One of two sets of rows to compare; keys and digests are strings in the same form on both sides."""

    def buckets(self, digits: int, within: Collection[str] | None = None) -> dict[str, Bucket]:
        """Return all buckets by the first `digits` of the key's MD5, or only those with a prefix in `within`."""
        ...

    def rows(self, within: Collection[str]) -> dict[str, str]:
        """Return the digests, by key, of all rows whose key's MD5 starts with one of the prefixes in `within`.

        Keys may be repeated (`digests_by_key`).
        """
        ...


class Pair(NamedTuple):
    """The digest of a row in the source and in the lake; None where the row does not exist."""

    source: str | None
    lake: str | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The result of comparing the source with the lake.

    Attributes:
        source_rows, lake_rows: total number of rows in the source and in the lake.
        rows: the differing rows, by key.
        within: names of the differing buckets, to which a second comparison can be limited.
    """

    source_rows: int
    lake_rows: int
    rows: Mapping[str, Pair] = field(default_factory=dict)
    within: frozenset[str] = frozenset()


def difference(source: Side, lake: Side, quick: Side | None = None) -> Difference:
    """Compare source and lake by buckets, and compare the buckets that differ row by row.

    Args:
        quick: the rows of the lake with digests that cost less; a digest equal to that of the source is right, but
            another one may be of columns that the row has had.
    """
    ours, theirs = source.buckets(COARSE_DIGITS), (quick or lake).buckets(COARSE_DIGITS)
    counts = sum(b.rows for b in ours.values()), sum(b.rows for b in theirs.values())
    within = _differing(ours, theirs)
    if quick is not None and within:
        some = {name: ours[name] for name in within if name in ours}
        theirs = {**theirs, **lake.buckets(COARSE_DIGITS, within)}
        within = _differing(some, {name: theirs[name] for name in within if name in theirs})
    if within and sum(max(ours.get(b, _NONE).rows, theirs.get(b, _NONE).rows) for b in within) > ROWS_READ_MAX:
        within = _differing(source.buckets(FINE_DIGITS, within), lake.buckets(FINE_DIGITS, within))
    rows = differing_rows(source, lake, within) if within else {}
    return Difference(source_rows=counts[0], lake_rows=counts[1], rows=rows, within=frozenset(within))


def differing_rows(source: Side, lake: Side, within: Collection[str]) -> dict[str, Pair]:
    """Return, by key, the rows in the buckets `within` that currently differ between source and lake."""
    ours, theirs = source.rows(within), lake.rows(within)
    pairs = {key: Pair(ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys()}
    return {key: pair for key, pair in pairs.items() if pair.source != pair.lake}


def digests_by_key(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the digest of each key; those of a key that is there several times are joined, so that they count."""
    found: dict[str, list[str]] = {}
    for key, digest in rows:
        found.setdefault(key, []).append(digest)
    return {key: " ".join(sorted(digests)) for key, digests in found.items()}


_NONE = Bucket(0, 0)


def _differing(ours: Mapping[str, Bucket], theirs: Mapping[str, Bucket]) -> set[str]:
    return {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}


def key_values(key: str) -> tuple[str | None, ...]:
    """Split a key's canonical text into its values, each written as `<length>:<text>`, or `-` for NULL."""
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
    """Return the canonical text of a key from its values as decoded from JSON: integers, booleans, strings or None."""
    texts = (None if value is None else str(int(value) if isinstance(value, bool) else value) for value in values)
    return "".join("-" if text is None else f"{len(text)}:{text}" for text in texts)
