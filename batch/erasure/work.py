"""The steps of an erasure of a person's rows in a table, in an order that makes it safe to repeat one that was killed.

1. Silver processes all new rows of Bronze, so that no row of the person is left to be processed later.
2. The values of the person's records in the archive are removed, and the person's rows in the quarantine are deleted.
   This happens before the tables are erased, because values from the tables identify records that cannot be decoded.
3. The person's rows are deleted from Bronze, then from Silver and its history table. In between, Silver processes
   Bronze again, to move its progress past the deletion; Silver ignores deleted Bronze rows, because only added rows are
   versions.
4. Gold is updated as usual: Silver's change feed reports the deletion, and a dimension member that facts still refer to
   becomes an inferred member, which consists of its key only.
5. Files and log entries of older versions are deleted (`batch.erasure.holdings`).
6. The look-up entry in Redis is deleted, all storage locations are searched again, and the report is written. The run
   fails if the archive, a table or Redis still contains data of the person.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from batch import gold
from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.erasure.archive import Archive, OwnRecords
from batch.erasure.elsewhere import former_versions, referring, warehouse
from batch.erasure.holdings import (
    Holding,
    bronze_holding,
    erase,
    forget,
    gold_holdings,
    others_made_of,
    quarantine_holding,
    rewrite,
    silver_holdings,
)
from batch.erasure.person import Person
from batch.erasure.report import Entry, Report
from batch.errors import BatchError
from batch.pipeline.plan import steps
from batch.pipeline.runner import Step
from batch.silver import refine, rules

_NOTES: Final = {
    "bronze": "counted in all files of all versions",
    "silver": "counted in all files of all versions",
    "gold": "counted in all files of all versions; if facts refer to the customer, a row with only the id remains",
}


@dataclass(kw_only=True)
class Erasure:
    """The erasure of one person's rows in one table, or a dry run that only counts the data.

    Attributes:
        archive: the archived raw changes of the person's table.
        lookup: two functions that count the person's look-up entry in Redis (0 or 1) and erase it; None if Redis
            has the look-up entries of another dataset.
        outside: returns report entries for locations that the command cannot erase, given the person's known values.
        keep: function that stores the report.
        versioned: locations in versioned buckets, which keep former contents of objects.
        known: personal data of the person that was found in other tables.
    """

    person: Person
    context: RunContext
    archive: Archive
    lookup: tuple[Callable[[], int], Callable[[], None]] | None
    outside: Callable[[frozenset[str]], list[Entry]]
    keep: Callable[[Report], None]
    versioned: Sequence[str] = ()
    known: frozenset[str] = frozenset()
    _records: OwnRecords = field(default_factory=lambda: OwnRecords(offsets={}), init=False)
    _found: dict[str, int] = field(default_factory=dict, init=False)

    def values(self) -> frozenset[str]:
        """Search for the person's data, and return the values of the personal columns."""
        self._records = self._find()
        return self._records.values

    def found(self) -> list[Entry]:
        """Count the person's data in all storage locations, and return the counts as report entries."""
        self._records = self._find()
        return [*self._ours(), *referring(self.person, self.context), *self.outside(self._records.values)]

    def steps(self, *, is_forced: bool) -> Iterator[Step]:
        """Search for the person's data, then yield the steps that erase it.

        Args:
            is_forced: erase even if the archive does not contain the deletion of the person's row.

        Raises:
            BatchError: the archive does not contain the deletion of the row, and the erasure is not forced.
        """
        self._records = self._find()
        if not is_forced and self.person.is_own:
            self._check_deletion_archived()
        name = self.person.table.name
        has_lake = bronze_holding(self.person, self.context).table.exists()
        if has_lake:
            yield Step(layer="silver", table=name, work=self._refined)
            if not is_forced:
                self._check_rows_deleted()
        yield Step(layer="bronze", table="changes", work=self._archive_erased)
        yield self._step("silver/quarantine", self._erased)
        if has_lake:
            yield self._step(f"bronze/{name}", self._erased)
            yield Step(layer="silver", table=name, work=self._refined)
            for holding in silver_holdings(self.person, self.context):
                yield self._step(holding.name, self._erased)
            yield from self._gold_steps()
        for holding in self._all():
            yield self._step(holding.name, self._forgotten)
        yield Step(layer="gold", table="erasure", work=self._verified)

    def _gold_steps(self) -> Iterator[Step]:
        """Yield the steps for Gold: dimensions before facts, because facts may refer to versions of dimensions."""
        built = set()
        for step in steps(self.context, layer="gold", table=None):
            yield step
            built.add(step.name)
            if step.name in {holding.name for holding in gold_holdings(self.person, self.context)}:
                yield self._step(step.name, self._gold_erased)
        for holding in gold_holdings(self.person, self.context):
            if holding.name not in built:
                yield self._step(holding.name, self._gold_erased)

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _refined(self) -> LayerResult:
        return refine.refine(self.person.table, self.context)

    def _archive_erased(self) -> LayerResult:
        self._found = {entry.place: entry.found for entry in self._ours()}
        self.archive.erase(self._records)
        count, objects = self._records.count, len(self._records.objects)
        note = f"removed the values of {count:,} records in {objects:,} archive objects" if count else ""
        return LayerResult(
            layer="bronze", table="changes", version=None, rows_written=count, is_unchanged=not count, note=note
        )

    def _erased(self, holding: Holding) -> LayerResult:
        if not self._is_concerned(holding):
            return self._result(holding, 0)
        count = erase(holding, self.context)
        rewrite(holding, self.context)
        return self._result(holding, count)

    def _gold_erased(self, holding: Holding) -> LayerResult:
        """Erase the person's rows from a Gold table and from all its files.

        If the regular update did not remove these rows, because Silver's change feed does not report their deletion,
        rebuild the table first.
        """
        if holding.plan is not None and holding.rows():
            gold.build(holding.plan, dataclasses.replace(self.context, full=True))
        return self._erased(holding)

    def _forgotten(self, holding: Holding) -> LayerResult:
        return forget(holding, self.context) if self._is_concerned(holding) else self._result(holding, 0)

    def _verified(self) -> LayerResult:
        self._records = self._find()
        if self.lookup is not None:
            self.lookup[1]()
        ours = self._ours()
        for entry in ours:
            entry.found = self._found.get(entry.place, entry.found)
        left = [entry.place for entry in ours if entry.left]
        report = Report(
            run_id=self.context.run_id,
            dataset=self.person.dataset,
            person=self.person.mark,
            started_at=self.context.started_at,
            ended_at=datetime.now(UTC),
            is_verified=not left and not self.versioned,
            places=[
                *ours,
                *referring(self.person, self.context),
                *self.outside(self._records.values),
                *former_versions(self.versioned),
                *warehouse(self.person),
            ],
        )
        self.keep(report)
        if left:
            raise BatchError(f"erasure incomplete: data remains in {', '.join(left)}; run the command again")
        is_found = any(entry.found for entry in ours)
        note = "verified by searching every storage location again" if is_found else "no data of this person found"
        return LayerResult(layer="gold", table="erasure", version=None, is_unchanged=True, note=note)

    # -- searching for the data ---------------------------------------------------------------------------------------

    def _find(self) -> OwnRecords:
        return self.archive.find(self.person, {*self._records.values, *self._values_in_tables(), *self.known})

    def _values_in_tables(self) -> set[str]:
        holdings = [bronze_holding(self.person, self.context), *silver_holdings(self.person, self.context)]
        there = [each for each in holdings if each.table.exists()]
        rows = []
        with self._sized_for(there):
            for each in there:
                own = each.table.read().where(each.condition).select(*self.person.personal)
                rows += own.distinct().collect()
        return {str(value) for row in rows for value in row if value}

    def _check_deletion_archived(self) -> None:
        if self._records.newest_op in (None, "d"):
            return
        raise BatchError(
            "the archive has no deletion of this row yet: check that the connector and the streams.archive worker are "
            "running. If the row was deleted without an entry in the source's binary log, add --force",
            layer="bronze",
            table=self.person.table.name,
        )

    def _check_rows_deleted(self) -> None:
        """Check that Silver, which is up to date, has no row of another table that refers to the person.

        Such rows have keys of their own, so the archive is not searched for their deletions.
        """
        silver = self.context.table("silver", self.person.table.name)
        kind = rules.spark_type(self.person.column)
        if self.person.is_own or silver.read().where(f"NOT _deleted AND {self.person.condition(kind)}").isEmpty():
            return
        raise BatchError(
            "the lake does not have the deletion of rows of this person yet: run `millrace lake run`, or add --force",
            layer="silver",
            table=self.person.table.name,
        )

    def _ours(self) -> list[Entry]:
        """Return report entries for the locations that the command erases; the archive is not searched again."""
        entries = self.archive.entries(self._records)
        for holding in self._holdings():
            with self._sized_for([holding]):
                count = max(holding.stored_rows(self.context.spark), holding.rows())
            entries.append(Entry(place=holding.name, found=count, left=count, note=_NOTES.get(holding.layer, "")))
        if self.lookup is not None:
            count = self.lookup[0]()
            entries.append(Entry(place="Redis look-up", found=count, left=count))
        return entries

    def _holdings(self) -> list[Holding]:
        person, context = self.person, self.context
        found = [
            bronze_holding(person, context),
            *silver_holdings(person, context),
            quarantine_holding(person, context, self._records.values),
            *gold_holdings(person, context),
        ]
        return [holding for holding in found if holding.table.exists()]

    def _sized_for(self, holdings: Sequence[Holding]) -> AbstractContextManager[None]:
        """Configure the session for small queries inside the `with` block if the tables are small."""
        is_small = sizes.are_small_tables(holding.table for holding in holdings)
        return sizes.set_for_small_query(self.context.spark, when=is_small)

    def _all(self) -> list[Holding]:
        return [*self._holdings(), *others_made_of(self.person, self.context)]

    def _is_concerned(self, holding: Holding) -> bool:
        """Whether the table had rows of the person; if such rows cannot be counted, whether any data was found."""
        counts = [count for name, count in self._found.items() if name == holding.name or not holding.is_countable]
        return any(counts)

    def _result(self, holding: Holding, count: int) -> LayerResult:
        return LayerResult(
            layer=holding.layer,
            table=holding.table_name,
            version=holding.table.version(),
            rows_written=count,
            progress=holding.table.progress(),
            is_unchanged=not count,
        )

    def _step(self, name: str, work: Callable[[Holding], LayerResult]) -> Step:
        layer, _, table = name.partition("/")

        def on_the_table_as_it_is() -> LayerResult:
            holding = next((each for each in self._all() if each.name == name), None)
            if holding is None:
                return LayerResult(layer=layer, table=table, version=None, is_unchanged=True)
            with self._sized_for([holding]):
                return work(holding)

        return Step(layer=layer, table=table, work=on_the_table_as_it_is)


def with_shared_values(erasures: Sequence[Erasure]) -> list[Erasure]:
    """Return erasures of one person, by table, that know the values in all tables, which tell undecodable records."""
    if len(erasures) > 1:
        known = frozenset[str]().union(*(each.values() for each in erasures))
        for each in erasures:
            each.known = known
    return [*erasures]
