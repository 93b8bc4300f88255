"""Rows whose difference has an explanation, and the Gold rows that they concern in turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch.gold import GoldPlan
from batch.reconcile.buckets import key_values

Row = Mapping[str, Any]


@dataclass(kw_only=True)
class Explained:
    """Of one source table: rows that are under way (`is_all`: each of them) or refused, with all values that they had.

    Attributes:
        keys: canonical texts of their keys.
        rows: their columns, as they are in the source, in Silver, and in changes under way.
    """

    is_all: bool = False
    keys: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)

    def values(self, columns: Sequence[str]) -> set[tuple[str | None, ...]]:
        """Values of some columns, as texts."""
        return {tuple(None if row.get(name) is None else str(row[name]) for name in columns) for row in self.rows}


def concerned(plan: GoldPlan, differing: Iterable[str], explained: Mapping[str, Explained]) -> set[str]:
    """Those of the differing keys of a Gold table that explained rows of its Silver tables concern."""
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
