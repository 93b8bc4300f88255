"""Compares every table of a dataset with its source, and explains the differences.

1. Each table of Bronze, Silver and Gold, at its version in the newest manifest, is compared with the source by buckets
   (`batch.reconcile.buckets`). The database computes its buckets while Spark computes those of the lake.
2. Rows that differ are compared again after a pause, using the manifest that is newest at that time: while the source
   changes, most differences are changes that have not reached the lake yet.
3. Rows that still differ are searched for in the quarantine and among pending changes, which Bronze has not read yet.
   A row that is found in neither counts as different.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from batch import gold
from batch.bronze.rest import filled
from batch.console.output import Say
from batch.delta import sizes
from batch.gold import GoldPlan
from batch.pipeline.manifest import Manifest
from batch.pipeline.tables import lake_table
from batch.pipeline.workspace import Workspace
from batch.reconcile.buckets import Difference, Pair, Side, difference, differing_rows
from batch.reconcile.explained import Explained, concerned
from batch.reconcile.lookup import Lookup
from batch.reconcile.queries import ORACLES, bronze_rows, gold_rows, oracle_query, silver_rows, source_query
from batch.reconcile.sides import LakeSide, SourceSide
from batch.reconcile.verdict import Finding
from config.definition import Table
from config.engines.base import Connection

PARALLEL_COMPARISONS: Final = 2
"""Number of tables that are compared at a time: most tables have a single file, which Spark reads on a single core."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A table of the lake to compare with the source.

    Attributes:
        key: names of the key columns.
        sides: returns the sides at the versions in a manifest; None if the table does not exist yet, or if there is no
            query for its expected rows.
    """

    name: str
    key: Sequence[str]
    sides: Callable[[Manifest], Sides | None]


class Sides(NamedTuple):
    """The rows of the source and of the lake; `quick` as in `difference`."""

    source: SourceSide
    lake: Side
    quick: Side | None = None


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """The results of both comparisons of one table; `first` is None if the table could not be compared."""

    first: Difference | None
    second: Mapping[str, Pair]


@dataclass(kw_only=True)
class Comparer:
    """Compares the lake tables of one dataset with the source database.

    Attributes:
        connection: a connection to the source database.
        pause: waits; called before and after the second comparison.
        say: prints a line.
    """

    workspace: Workspace
    spark: SparkSession
    connection: Connection
    lookup: Lookup
    pause: Callable[[], None]
    say: Say
    _pending: dict[str, Explained] = field(default_factory=dict, init=False)
    _in_quarantine: dict[str, Explained] = field(default_factory=dict, init=False)

    def findings(self, table: str | None = None) -> list[Finding]:
        """Compare all tables, or one (for a Gold table, also its source tables); findings on Gold come last.

        Raises:
            BatchError: the source, the lake or Kafka cannot be read.
        """
        plans = [plan for plan in gold.plans(self.workspace.definition) if table in (None, plan.name)]
        needed = {table, *(name for plan in plans for name in plan.tables)}
        known = self.workspace.definition.tables
        tables = [each for each in known if table is None or {each.name, each.history_name} & needed]
        thread = ThreadPoolExecutor(1, "source")
        try:
            return self._findings_of(tables, plans, thread)
        finally:
            thread.shutdown(cancel_futures=True)  # after an error, queries that have not begun are not needed

    def _findings_of(self, tables: Sequence[Table], plans: Sequence[GoldPlan], thread: Executor) -> list[Finding]:
        subjects = [subject for each in tables for subject in self._source_subjects(each, thread)]
        subjects += [self._gold_subject(plan, thread) for plan in plans]
        manifest = self.workspace.newest()
        first = self._first_comparisons(subjects, manifest)
        second: dict[str, Mapping[str, Pair]] = {}
        if any(found is not None and found.rows for found in first.values()):
            self.pause()
            manifest = self.workspace.newest()
            second = {each.name: _second_comparison(each, manifest, first[each.name]) for each in subjects}
            self.pause()  # so that Kafka has all changes that the second comparison saw in the source
        compared = {name: Comparisons(first=found, second=second.get(name, {})) for name, found in first.items()}
        found = [self._table_findings(each, manifest, compared) for each in tables]
        return [*(one for pair in found for one in pair), *(self._gold_finding(p, manifest, compared) for p in plans)]

    def _source_subjects(self, table: Table, thread: Executor) -> list[Subject]:
        source = SourceSide(self.connection, source_query(self.connection.engine, table), thread)

        def bronze_sides(manifest: Manifest) -> Sides | None:
            rows = self._read("bronze", table.name, manifest)
            if rows is None:
                return None
            landed = filled(rows, table, manifest.progress.get(f"bronze/{table.name}", {}))
            quick = LakeSide(lambda: bronze_rows(landed, table))
            return Sides(source, LakeSide(lambda: bronze_rows(landed, table, is_exact=True)), quick)

        def silver_sides(manifest: Manifest) -> Sides | None:
            rows = self._read("silver", table.name, manifest)
            return None if rows is None else Sides(source, LakeSide(lambda: silver_rows(rows, table)))

        return [
            Subject(name=f"bronze/{table.name}", key=table.key, sides=bronze_sides),
            Subject(name=f"silver/{table.name}", key=table.key, sides=silver_sides),
        ]

    def _gold_subject(self, plan: GoldPlan, thread: Executor) -> Subject:
        def sides(manifest: Manifest) -> Sides | None:
            rows = self._read("gold", plan.name, manifest)
            query = None if rows is None else oracle_query(self.workspace.definition, plan, rows)
            if rows is None or query is None:
                return None
            return Sides(SourceSide(self.connection, query, thread), LakeSide(lambda: gold_rows(rows, plan)))

        return Subject(name=f"gold/{plan.name}", key=plan.key, sides=sides)

    def _read(self, layer: str, table: str, manifest: Manifest) -> DataFrame | None:
        version = manifest.versions.get(f"{layer}/{table}")
        if version is None:
            return None
        found = lake_table(self.spark, self.workspace.lake, self.workspace.definition, layer, table)
        if sizes.are_small_tables([found]):
            found = lake_table(self._small_queries, self.workspace.lake, self.workspace.definition, layer, table)
        return found.read(version)

    @cached_property
    def _small_queries(self) -> SparkSession:
        return sizes.session_for_small_queries(self.spark)

    def _first_comparisons(self, subjects: Sequence[Subject], manifest: Manifest) -> dict[str, Difference | None]:
        sides = {each.name: each.sides(manifest) for each in subjects}
        for pair in filter(None, sides.values()):
            pair.source.prefetch()
        pool = ThreadPoolExecutor(PARALLEL_COMPARISONS, "compare")
        try:
            running = {name: pool.submit(difference, *pair) if pair else None for name, pair in sides.items()}
            return {name: self._reported(name, future.result() if future else None) for name, future in running.items()}
        finally:
            pool.shutdown(cancel_futures=True)

    def _reported(self, name: str, found: Difference | None) -> Difference | None:
        differing = f", {len(found.rows):,} differ in the first comparison" if found and found.rows else ""
        counts = (
            f"{found.source_rows:,} rows in the source, {found.lake_rows:,} in the lake" if found else "not compared"
        )
        self.say(f"  {name:<28} {counts}{differing}")
        return found

    def _table_findings(self, table: Table, manifest: Manifest, compared: Mapping[str, Comparisons]) -> list[Finding]:
        bronze, silver = f"bronze/{table.name}", f"silver/{table.name}"
        lacking, stale = compared[bronze].second, compared[silver].second
        pending = Explained()
        if lacking or stale or any(each.second for name, each in compared.items() if name.startswith("gold/")):
            pending = self.lookup.pending(table, manifest, lacking)
        landed = set(stale) - set(lacking)
        waits = set(stale) if pending.is_all else pending.keys & set(stale)
        if manifest.progress.get(silver, {}).get("bronze") != manifest.versions.get(bronze):
            waits |= landed  # Bronze has these rows, and the next run will process them
        too_large = self.lookup.too_large(table, lacking)
        waits -= too_large
        quarantined = self.lookup.quarantined(table, landed - waits) | (too_large & set(stale))
        known = Explained(is_all=pending.is_all, keys=(pending.keys - too_large) | waits, rows=pending.rows)
        arrives = self.lookup.with_values(table, known, manifest)
        aside = self.lookup.with_values(table, Explained(keys=quarantined), manifest)
        for name in filter(None, (table.name, table.history_name)):  # a dimension shows the one or the other
            self._pending[name], self._in_quarantine[name] = arrives, aside
        arriving = (set(lacking) if pending.is_all else pending.keys & set(lacking)) - too_large
        without_key = self.lookup.without_key(table)
        note = f"(without {without_key:,} rows that have NULL in their key)" if without_key else ""
        return [
            _finding(bronze, table.key, compared[bronze], behind=arriving, quarantined=too_large, note=note),
            _finding(silver, table.key, compared[silver], behind=waits, quarantined=quarantined, note=note),
        ]

    def _gold_finding(self, plan: GoldPlan, manifest: Manifest, compared: Mapping[str, Comparisons]) -> Finding:
        name = f"gold/{plan.name}"
        rows = compared[name].second
        shown = manifest.progress.get(name, {}).get("silver", {})
        is_current = all(shown.get(table) == manifest.versions.get(f"silver/{table}") for table in plan.tables)
        behind = concerned(plan, rows, self._pending) if is_current else set(rows)
        quarantined = concerned(plan, set(rows) - behind, self._in_quarantine)
        if compared[name].first is None and name in manifest.versions:
            note = f"(no query {ORACLES}/{plan.name}.sql)"
            return Finding(name=name, key=plan.key, source_rows=0, lake_rows=0, note=note, is_compared=False)
        return _finding(name, plan.key, compared[name], behind=behind, quarantined=quarantined)


def _second_comparison(subject: Subject, manifest: Manifest, first: Difference | None) -> Mapping[str, Pair]:
    """Return the rows that differ in the first comparison and still differ now."""
    sides = subject.sides(manifest)
    if first is None or sides is None or not first.rows:
        return {}
    again = differing_rows(sides.source, sides.lake, first.within)
    return {key: pair for key, pair in again.items() if key in first.rows}


def _finding(
    name: str,
    key: Sequence[str],
    compared: Comparisons,
    *,
    behind: Collection[str],
    quarantined: Collection[str] = (),
    note: str = "",
) -> Finding:
    if compared.first is None:
        return Finding(name=name, key=key, source_rows=0, lake_rows=0, note="(does not exist yet)", is_behind=True)
    return Finding(
        name=name,
        key=key,
        source_rows=compared.first.source_rows,
        lake_rows=compared.first.lake_rows,
        rows=compared.second,
        behind=behind,
        quarantined=quarantined,
        note=note,
    )
