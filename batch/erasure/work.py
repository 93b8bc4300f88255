"""The steps of an erasure, in an order that makes it safe to repeat an erasure that was killed.

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
from batch.silver import refine
from config.definition import Reference

_NOTES: Final = {
    "bronze": "counted in all files of all versions",
    "silver": "counted in all files of all versions",
    "gold": "counted in all files of all versions; if facts refer to the customer, a row with only the id remains",
}
_ID_ALONE: Final = "the id is kept because facts refer to it; by itself, it identifies nobody"


@dataclass(kw_only=True)
class Erasure:
    """The erasure of one person's data, or a dry run that only counts the data.

    Attributes:
        archive: the archived raw changes of the person's table.
        lookup: two functions that count the person's look-up entry in Redis (0 or 1) and erase it; None if Redis
            has the look-up entries of another dataset.
        outside: returns report entries for locations that the command cannot erase, given the person's known values.
        keep: function that stores the report.
        versioned: locations in versioned buckets, which keep former contents of objects.
    """

    person: Person
    context: RunContext
    archive: Archive
    lookup: tuple[Callable[[], int], Callable[[], None]] | None
    outside: Callable[[frozenset[str]], list[Entry]]
    keep: Callable[[Report], None]
    versioned: Sequence[str] = ()
    _records: OwnRecords = field(default_factory=lambda: OwnRecords(offsets={}), init=False)
    _found: dict[str, int] = field(default_factory=dict, init=False)

    def found(self) -> list[Entry]:
        """Count the person's data in all storage locations, and return the counts as report entries."""
        self._records = self._find()
        return [*self._ours(), *self._referring(), *self.outside(self._records.values)]

    def steps(self, *, is_forced: bool) -> Iterator[Step]:
        """Search for the person's data, then yield the steps that erase it.

        Args:
            is_forced: erase even if the archive does not contain the deletion of the person's row.

        Raises:
            BatchError: the archive does not contain the deletion of the row, and the erasure is not forced.
        """
        self._records = self._find()
        if not is_forced:
            self._check_deletion_archived()
        name = self.person.table.name
        has_lake = bronze_holding(self.person, self.context).table.exists()
        if has_lake:
            yield Step(layer="silver", table=name, work=self._refined)
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
        count, objects = self._records.count, len(self._records.offsets)
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
                *self._referring(),
                *self.outside(self._records.values),
                *self._former(),
                *self._warehouse(),
            ],
        )
        self.keep(report)
        if left:
            raise BatchError(f"erasure incomplete: data remains in {', '.join(left)}; run the command again")
        note = (
            "verified by searching every storage location again"
            if any(entry.found for entry in ours)
            else "no data of this person found"
        )
        return LayerResult(layer="gold", table="erasure", version=None, is_unchanged=True, note=note)

    # -- searching for the data ---------------------------------------------------------------------------------------

    def _find(self) -> OwnRecords:
        return self.archive.find(self.person, {*self._records.values, *self._values_in_tables()})

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

    def _ours(self) -> list[Entry]:
        """Return report entries for the locations that the command erases; the archive is not searched again."""
        entries = [Entry(place="archive", found=self._records.count, left=self._records.count)]
        for holding in self._holdings():
            with self._sized_for([holding]):
                count = max(holding.stored_rows(self.context.spark), holding.rows())
            entries.append(Entry(place=holding.name, found=count, left=count, note=_NOTES.get(holding.layer, "")))
        if self.lookup is not None:
            count = self.lookup[0]()
            entries.append(Entry(place="Redis look-up", found=count, left=count))
        return entries

    def _former(self) -> list[Entry]:
        """Return report entries for buckets that keep former versions of objects, which cannot be searched."""
        note = "the bucket is versioned: delete the former versions of its objects, for example by a lifecycle rule"
        return [
            Entry(place=f"versions of {each}", found=0, left=0, is_ours=False, note=note) for each in self.versioned
        ]

    def _warehouse(self) -> list[Entry]:
        """Return a report entry for the person's row in the warehouse, which this command does not know."""
        target = self.person.table.warehouse
        note = "not searched: run `millrace warehouse erase`, or the row and its dead letters keep their last values"
        place = "" if target is None else f"warehouse {self.person.dataset}.{target.table}"
        return [Entry(place=place, found=0, left=0, is_ours=False, note=note)] if place else []

    def _referring(self) -> list[Entry]:
        """Return report entries for the columns of other Silver tables that refer to the person by id."""
        found = []
        for table in self.context.definition.tables:
            rows = self.context.table("silver", table.name)
            names = [r.column for r in table.rules if isinstance(r, Reference) and r.table == self.person.table.name]
            for name in names if rows.exists() else []:
                count = rows.read().where(f"NOT _deleted AND {self.person.condition('STRING', name)}").count()
                place = f"silver/{table.name}.{name}"
                found.append(
                    Entry(place=place, found=count, left=count, is_ours=False, note=_ID_ALONE if count else "")
                )
        return found

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
