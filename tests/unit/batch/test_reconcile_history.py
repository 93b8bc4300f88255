"""Goal: a dimension that shows versions is behind or quarantined where the table of its source is.

Method: comparisons made by hand, and a lookup with one pending or quarantined customer; no server, no Spark.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from batch.gold import GoldPlan, plans
from batch.pipeline.manifest import Manifest
from batch.reconcile.buckets import Difference, Pair, key_text
from batch.reconcile.compare import Comparer, Comparisons
from batch.reconcile.explained import Explained
from batch.reconcile.lookup import Lookup
from batch.reconcile.verdict import Finding
from config.dataset import load_definition
from config.definition import Table

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = key_text([7])
ROWS = {KEY: Pair("1", "2")}


def shop(history: int) -> Any:
    """The shop, with a dimension of customers of this type."""
    found = load_definition("project_db")
    tables = (msgspec.structs.replace(t, history=history) if t.name == "customers" else t for t in found.tables)
    return msgspec.structs.replace(found, tables=tuple(tables))


class OneCustomer(Lookup):
    """The customer 7 has a pending change, or is in the quarantine."""

    def __init__(self, *, is_pending: bool) -> None:
        nothing: Any = None
        super().__init__(workspace=nothing, spark=nothing, connection=nothing, bootstrap=None)
        self._is_pending = is_pending
        self._quarantined_keys = {} if is_pending else {"customers": {KEY: False}}

    def pending(self, table: Table, manifest: Manifest, differing: Collection[str]) -> Explained:
        return Explained(keys={KEY} if self._is_pending else set())

    def without_key(self, table: Table) -> int:
        return 0

    def with_values(self, table: Table, explained: Explained, manifest: Manifest) -> Explained:
        return Explained(keys=explained.keys, rows=[{"id": 7} for _ in explained.keys])


def compared(rows: dict[str, Pair]) -> Comparisons:
    return Comparisons(first=Difference(source_rows=1, lake_rows=1), second=rows)


@pytest.mark.parametrize("is_pending", [True, False])
def test_a_pending_or_quarantined_row_explains_its_versions(*, is_pending: bool) -> None:
    definition, nothing = shop(2), None
    [plan] = [each for each in plans(definition) if each.name == "dim_customer"]
    versions = dict.fromkeys(["bronze/customers", "silver/customers", *(f"silver/{name}" for name in plan.tables)], 4)
    progress: dict[str, Any] = {
        "silver/customers": {"bronze": 4},
        "gold/dim_customer": {"silver": dict.fromkeys(plan.tables, 4)},
    }
    times: Any = {"started_at": NOON, "ended_at": NOON}
    manifest = Manifest(run_id="r", dataset="d", tables=[], versions=versions, progress=progress, **times)
    found = {name: compared(ROWS) for name in ("silver/customers", "gold/dim_customer")}
    found["bronze/customers"] = compared(ROWS if is_pending else {})
    given: Any = {"workspace": nothing, "spark": nothing, "connection": nothing, "pause": nothing, "say": nothing}
    comparer = Comparer(lookup=OneCustomer(is_pending=is_pending), **given)
    comparer._table_findings(definition.table("customers"), manifest, found)
    finding = comparer._gold_finding(plan, manifest, found)
    assert (finding.behind, finding.quarantined) == (({KEY}, set()) if is_pending else (set(), {KEY}))


@pytest.mark.parametrize("history", [1, 2])
def test_a_dimension_is_compared_together_with_the_tables_it_shows(
    monkeypatch: pytest.MonkeyPatch, history: int
) -> None:
    seen: list[str] = []

    def names(_: Comparer, tables: Sequence[Table], _plans: Sequence[GoldPlan], _thread: Executor) -> list[Finding]:
        seen.extend(table.name for table in tables)
        return []

    monkeypatch.setattr(Comparer, "_findings_of", names)
    given: Any = dict.fromkeys(("spark", "connection", "lookup", "pause", "say"))
    workspace: Any = SimpleNamespace(definition=shop(history))
    Comparer(workspace=workspace, **given).findings("dim_customer")
    assert {"customers", "orders"} <= {*seen}
