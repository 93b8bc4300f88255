"""Source rows whose difference a pending change or the quarantine explains, and the Gold rows that depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch.gold import GoldPlan
from batch.reconcile.buckets import key_values

Row = Mapping[str, Any]


@dataclass(kw_only=True)
class Explained:
    """Explained rows of one source table: either rows with pending changes or quarantined rows.

    Attributes:
        is_all: whether all rows of the table count as explained.
        keys: canonical texts of the rows' keys.
        rows: known states of the rows, in the source, in Silver and in pending changes.
    """

    is_all: bool = False
    keys: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)

    def values(self, columns: Sequence[str]) -> set[tuple[str | None, ...]]:
        """Return the distinct values of some columns in the known states, as texts."""
        return {tuple(None if row.get(name) is None else str(row[name]) for name in columns) for row in self.rows}


def concerned(plan: GoldPlan, differing: Iterable[str], explained: Mapping[str, Explained]) -> set[str]:
    """Return the differing keys of a Gold table that depend on explained rows of its Silver tables."""
    differing = set(differing)
    found: set[str] = set()
    places = [plan.key.index(name) for name in plan.mapped]
    for concern in plan.concerned_by:
        table = explained.get(concern.table)
        if table is None or not (table.is_all or table.rows):
            continue
        if table.is_all or not concern.columns:
            return differing
        values = table.values([own for own, _ in concern.columns])
        found |= {key for key in differing if _part(key, places) in values}
    return found


def _part(key: str, places: Sequence[int]) -> tuple[str | None, ...]:
    values = key_values(key)
    return tuple(values[place] for place in places)
