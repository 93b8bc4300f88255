"""Goal: a row of a table that is read by JDBC is called behind only if the next run will read it.

Method: comparisons and lookups made by hand, with a stand-in for the database; no server, no Spark.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec

from batch.pipeline.manifest import Manifest
from batch.reconcile.buckets import Difference, Pair, key_text
from batch.reconcile.compare import Comparer, Comparisons
from batch.reconcile.explained import Explained
from batch.reconcile.lookup import KEY_TEXT, Lookup
from batch.reconcile.verdict import Finding, Verdict, report
from config.dataset import load_definition
from config.definition import Column, LogicalType, Table
from config.engines.mysql import MySQL
from config.settings import LakeSettings

SHOP = load_definition("project_db")
LINES = msgspec.structs.replace(SHOP.table("order_details"), feed="jdbc")
CUSTOMERS = msgspec.structs.replace(SHOP.table("customers"), feed="jdbc")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
A, B = key_text(["a", 1]), key_text(["b", 1])
DIFFERS = Pair("1", "2")


def manifest(table: Table) -> Manifest:
    names = [f"{layer}/{table.name}" for layer in ("bronze", "silver")]
    progress: dict[str, dict[str, Any]] = {names[0]: {"anchor": "2026-11-21 11:00:00.000000"}, names[1]: {"bronze": 4}}
    return Manifest(
        run_id="r",
        dataset="d",
        started_at=NOON,
        ended_at=NOON,
        tables=[],
        versions=dict.fromkeys(names, 4),
        progress=progress,
    )


class Engine:
    """The clock of a database."""

    def time_ms(self, _: object) -> int:
        return int(NOON.timestamp() * 1000)


class Connection:
    engine = Engine()


class FakeLookup(Lookup):
    """A lookup in rows that are given, and in an empty quarantine."""

    def __init__(self, rows: Mapping[str, Any], quarantined: Collection[str] = ()) -> None:
        nothing: Any = None
        connection: Any = Connection()
        super().__init__(workspace=nothing, spark=nothing, connection=connection, bootstrap=None)
        self._rows = rows
        self.rows_without_key = 0
        self._quarantined_keys = {LINES.name: dict.fromkeys(quarantined, False)}

    def _source_rows(self, table: Table, keys: Collection[str]) -> Any:
        return ({KEY_TEXT: key, str(table.cursor): self._rows[key]} for key in keys if key in self._rows)

    def without_key(self, table: Table) -> int:
        return self.rows_without_key

    def with_values(self, table: Table, explained: Explained, manifest: Manifest) -> Explained:
        return explained


class SizedSource:
    """A database with rows of this table that are too large now."""

    engine = MySQL()

    def __init__(self, *large: str) -> None:
        self._large = large

    def rows(self, _: str) -> list[tuple[str, str, str]]:
        return [(LINES.name, "order_id", "varchar"), (LINES.name, "note", "longtext")]

    def dictionaries(self, statement: str) -> list[dict[str, str]]:
        assert f"COALESCE(LENGTH(`note`), 0) AS size FROM `{LINES.name}`" in statement
        return [{"k": key} for key in self._large]


class LargeLookup(FakeLookup):
    """A lookup in a quarantine with the rows A and B, which were too large to be read."""

    def __init__(self, *large: str) -> None:
        super().__init__({})
        source: Any = SizedSource(*large)
        workspace: Any = SimpleNamespace(settings=LakeSettings.read({}))
        self.connection, self.workspace = source, workspace
        self._quarantined_keys = {LINES.name: {A: True, B: True}}


def findings(lookup: Lookup, *, bronze: Mapping[str, Pair], silver: Mapping[str, Pair]) -> list[Finding]:
    nothing: Any = None
    comparer = Comparer(workspace=nothing, spark=nothing, connection=nothing, lookup=lookup, pause=nothing, say=nothing)
    compared = {
        f"bronze/{LINES.name}": Comparisons(first=Difference(source_rows=2, lake_rows=2), second=bronze),
        f"silver/{LINES.name}": Comparisons(first=Difference(source_rows=2, lake_rows=2), second=silver),
    }
    note = Column(name="note", type=LogicalType.STRING, nullable=True)
    table = msgspec.structs.replace(LINES, columns=(*LINES.columns, note))
    return comparer._table_findings(table, manifest(LINES), compared)


def test_a_row_of_a_table_without_a_cursor_that_bronze_has_is_not_behind() -> None:
    _, silver = findings(FakeLookup({}, quarantined={B}), bronze={}, silver={A: DIFFERS, B: DIFFERS})
    assert (silver.verdict, silver.different, silver.quarantined) == (Verdict.DIFFERENT, [A], {B})


def test_a_row_of_a_table_without_a_cursor_that_bronze_lacks_is_behind() -> None:
    found = findings(FakeLookup({}), bronze={A: DIFFERS}, silver={A: DIFFERS})
    assert [each.verdict for each in found] == [Verdict.BEHIND, Verdict.BEHIND]


def test_rows_with_null_in_their_key_are_not_compared_and_the_report_says_so() -> None:
    lookup = FakeLookup({})
    lookup.rows_without_key = 1_200
    found = findings(lookup, bronze={}, silver={})
    assert [each.verdict for each in found] == [Verdict.EQUAL, Verdict.EQUAL]
    assert report(found).count("equal (without 1,200 rows that have NULL in their key)") == 2


def test_a_row_that_is_too_large_is_quarantined_and_behind_once_it_is_smaller() -> None:
    both = {A: DIFFERS, B: DIFFERS}
    for found in findings(LargeLookup(A), bronze=both, silver=both):
        assert (found.quarantined, found.behind, found.different) == ({A}, {B}, []), found.name


def test_a_window_reads_what_changed_since_the_last_one_but_not_the_future() -> None:
    hour, naive = timedelta(hours=1), NOON.replace(tzinfo=None)
    times = {"late": naive + hour, "new": naive - hour / 2, "old": naive - 2 * hour, "never": None}
    assert FakeLookup(times).pending(CUSTOMERS, manifest(CUSTOMERS), times).keys == {"new", "never"}
