"""Rows that differ because of a pending change or the quarantine, and the Gold rows that depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch.gold import GoldPlan
from batch.reconcile.buckets import key_values

Row = Mapping[str, Any]


@dataclass(kw_only=True)
class Explained:
    """Rows of one source table for which a difference is explained: by pending changes, or by the quarantine.

    Attributes:
        is_all: whether a difference is explained for every row of the table.
        keys: canonical texts of the rows' keys.
        rows: known states of these rows, from the source, from Silver and from pending changes.
    """

    is_all: bool = False
    keys: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)

    def values(self, columns: Sequence[str]) -> set[tuple[str | None, ...]]:
        """Return the distinct values that the known row states have in the given columns, as strings."""
        return {tuple(None if row.get(name) is None else str(row[name]) for name in columns) for row in self.rows}


def concerned(plan: GoldPlan, differing: Iterable[str], explained: Mapping[str, Explained]) -> set[str]:
    """Return the differing keys of a Gold table whose difference is explained by rows of its Silver tables."""
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
