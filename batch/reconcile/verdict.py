"""The findings of a comparison with the source, and the verdict on them: equal, different or behind.

different    a row differs between source and lake, and neither a pending change nor the quarantine explains it
behind       a row differs, but its change is in Kafka or in the previous layer, and the next run will process it
quarantined  a row is missing in Silver because a quality rule keeps it in the quarantine; the verdict ignores this
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from batch.console.output import columns
from batch.reconcile.buckets import Pair, key_values

NAMED_KEYS_MAX: Final = 10
"""Maximum number of differing keys to print per table; further keys are only counted."""


class Verdict(IntEnum):
    """The result of comparing the lake or stream with the source; the value is the exit code of `reconcile`."""

    EQUAL = 0
    DIFFERENT = 1
    BEHIND = 2


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of comparing one table or topic with the source.

    Attributes:
        name: layer and table, or the topic.
        key: names of the key columns.
        rows: rows that differ, by key.
        behind: keys of rows whose difference is explained by a pending change.
        quarantined: keys of rows that a quality rule keeps out of Silver.
        note: a remark for the report.
        is_behind: whether the whole table is behind, because it does not exist yet.
    """

    name: str
    key: Sequence[str]
    source_rows: int
    lake_rows: int
    rows: Mapping[str, Pair] = field(default_factory=dict)
    behind: Collection[str] = ()
    quarantined: Collection[str] = ()
    note: str = ""
    is_behind: bool = False

    @property
    def different(self) -> list[str]:
        """The sorted keys of the rows whose difference is unexplained."""
        explained = {*self.behind, *self.quarantined}
        return sorted(key for key in self.rows if key not in explained)

    @property
    def verdict(self) -> Verdict:
        """The verdict on this table or topic."""
        if self.different:
            return Verdict.DIFFERENT
        return Verdict.BEHIND if self.behind or self.is_behind else Verdict.EQUAL


def overall(findings: Iterable[Finding]) -> Verdict:
    """Return the worst verdict of all findings: different is worse than behind, and behind is worse than equal."""
    verdicts = {finding.verdict for finding in findings}
    return next((each for each in (Verdict.DIFFERENT, Verdict.BEHIND) if each in verdicts), Verdict.EQUAL)


def report(findings: Sequence[Finding]) -> str:
    """Format the findings as a table with one line each, followed by the keys of differing rows."""
    rows: list[tuple[str, ...]] = [("", "SOURCE", "LAKE", "DIFFERENT", "BEHIND", "QUARANTINED", "")]
    for finding in findings:
        counts = (finding.source_rows, finding.lake_rows, len(finding.different), len(finding.behind))
        state = " ".join(part for part in (finding.verdict.name.lower(), finding.note) if part)
        rows.append((finding.name, *(f"{n:,}" for n in counts), f"{len(finding.quarantined):,}", state))
    named = [line for finding in findings for line in _named(finding)]
    return "\n".join([columns(rows, right=range(1, 6)), *named])


def _named(finding: Finding) -> Iterable[str]:
    different = finding.different
    for key in different[:NAMED_KEYS_MAX]:
        yield f"{finding.name}: {shown(key, finding.key)}: {_how(finding.rows[key])}"
    if len(different) > NAMED_KEYS_MAX:
        yield f"{finding.name}: and {len(different) - NAMED_KEYS_MAX:,} more"


def shown(key: str, names: Sequence[str]) -> str:
    """Format a key for display, as in `order_id=7, product_id=1`."""
    return ", ".join(f"{name}={value}" for name, value in zip(names, key_values(key), strict=True))


def _how(pair: Pair) -> str:
    if pair.lake is None:
        return "exists only in the source"
    return "no longer exists in the source" if pair.source is None else "differs from the source"
