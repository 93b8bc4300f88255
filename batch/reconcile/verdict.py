"""The findings of a comparison with the source, and the verdict on them: equal, different or behind.

different    a row differs between source and lake, and neither a pending change nor the quarantine explains it
behind       a row differs, but its change is in Kafka or in the previous layer, and the next run will process it
quarantined  a row is missing in Silver because a quality rule keeps it in the quarantine; the verdict ignores this

A Gold table without an oracle query is not compared: it has no verdict, and the report names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

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
        quarantined: keys of rows that are in the quarantine, by a quality rule or because they are too large.
        note: a remark for the report.
        is_behind: whether the whole table is behind, because it does not exist yet.
        is_compared: whether there was something to compare the table with.
        how: descriptions of differing rows, by key, where the existence of the row does not describe the difference.
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
    is_compared: bool = True
    how: Mapping[str, str] = field(default_factory=dict)

    @property
    def different(self) -> list[str]:
        """The sorted keys of the rows whose difference is unexplained."""
        explained = {*self.behind, *self.quarantined}
        return sorted(key for key in self.rows if key not in explained)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on this table or topic; None if it was not compared."""
        if not self.is_compared:
            return None
        if self.different:
            return Verdict.DIFFERENT
        return Verdict.BEHIND if self.behind or self.is_behind else Verdict.EQUAL


def overall(findings: Iterable[Finding]) -> Verdict:
    """Return the worst verdict of all findings: different is worse than behind, and behind is worse than equal."""
    verdicts = {finding.verdict for finding in findings}
    return next((each for each in (Verdict.DIFFERENT, Verdict.BEHIND) if each in verdicts), Verdict.EQUAL)


def verdict_line(findings: Sequence[Finding]) -> str:
    """Format the worst verdict, and name the tables that were not compared."""
    left_out = [finding.name for finding in findings if not finding.is_compared]
    return f"verdict: {overall(findings).name.lower()}" + (f"; not compared: {', '.join(left_out)}" if left_out else "")


def report(findings: Sequence[Finding]) -> str:
    """Format the findings as a table with one line each, followed by the keys of differing rows."""
    rows: list[tuple[str, ...]] = [("", "SOURCE", "LAKE", "DIFFERENT", "BEHIND", "QUARANTINED", "")]
    for finding in findings:
        explained = (finding.behind, finding.quarantined)
        counts = [finding.source_rows, finding.lake_rows, len(finding.different), *map(len, explained)]
        shown = [f"{count:,}" if finding.is_compared else "-" for count in counts]
        rows.append((finding.name, *shown, " ".join(part for part in (state(finding), finding.note) if part)))
    named = [line for finding in findings for line in _named(finding)]
    return "\n".join([columns(rows, right=range(1, 6)), *named])


def state(finding: Finding) -> str:
    """Return the verdict on a table in words."""
    return "not compared" if finding.verdict is None else finding.verdict.name.lower()


def finding_members(finding: Finding) -> dict[str, Any]:
    """Return the result of one table as JSON data, with some of the rows that differ."""
    return {
        "name": finding.name,
        "state": state(finding),
        "source_rows": finding.source_rows if finding.is_compared else None,
        "lake_rows": finding.lake_rows if finding.is_compared else None,
        "different": len(finding.different),
        "behind": len(finding.behind),
        "quarantined": len(finding.quarantined),
        "note": finding.note,
        "examples": [
            {"key": dict(zip(finding.key, key_values(key), strict=True)), "how": how(finding, key)}
            for key in finding.different[:NAMED_KEYS_MAX]
        ],
    }


def _named(finding: Finding) -> Iterable[str]:
    different = finding.different
    for key in different[:NAMED_KEYS_MAX]:
        yield f"{finding.name}: {shown(key, finding.key)}: {how(finding, key)}"
    if len(different) > NAMED_KEYS_MAX:
        yield f"{finding.name}: and {len(different) - NAMED_KEYS_MAX:,} more"


def shown(key: str, names: Sequence[str]) -> str:
    """Format a key for display, as in `order_id=7, product_id=1`."""
    return ", ".join(f"{name}={value}" for name, value in zip(names, key_values(key), strict=True))


def how(finding: Finding, key: str) -> str:
    """Describe the difference of one row."""
    pair = finding.rows[key]
    if key in finding.how:
        return finding.how[key]
    if pair.lake is None:
        return "exists only in the source"
    return "no longer exists in the source" if pair.source is None else "differs from the source"
