"""Fills Bronze tables from the feed `changes`, which is the archive of raw changes.

1. Find the archive's objects with offsets after the progress of the Bronze table.
2. Decode their records once, and summarize them in one job: number of records, number of unreadable records, columns
   of the newest row.
3. Put unreadable records into the quarantine.
4. Append the row versions that Bronze does not have yet, and commit the next offsets with them as the progress.

After a crash of Kafka Connect, the connector may deliver a change again at another offset, with the same key, sequence
and content as before. New versions are therefore compared with those in Bronze, but only with the ones whose sequence
is at least the lowest new sequence.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze import progress as bronze_progress
from batch.bronze.archive import ArchiveSlice, damage_reported, find_objects, read_objects
from batch.bronze.envelope import BETWEEN, IS_READABLE, UNREADABLE, decoded, unreadable, versions, with_table_columns
from batch.bronze.rest import with_kept
from batch.bronze.table import (
    JDBC,
    PARTITIONS,
    anti_joined,
    bronze_table,
    deduplicated,
    drift,
    properties,
    since,
    stamped,
    table_error,
    unchanged,
)
from batch.bronze.truncation import (
    IS_TRUNCATION,
    Truncation,
    found_truncations,
    kept_truncations,
    with_deletes,
    with_seen,
)
from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.delta.commits import Written
from batch.delta.rows import Rows
from batch.delta.table import LakeTable
from batch.quarantine import quarantine
from config.definition import Definition, Table
from config.left_out import is_left_out
from streams.model.archive_chain import ChainBrokenError
from streams.topics import topic_under

log = logging.getLogger("batch.bronze")

_EMPTY = "_op STRING, _sequence STRING, _committed_at TIMESTAMP, _origin STRING"


@dataclass(frozen=True, kw_only=True)
class RecordSummary:
    """Summary of the archived records that a run reads.

    Attributes:
        records, tombstones, unreadable: number of all records, of tombstones, and of unreadable records.
        lowest: lowest sequence of the row versions; None if there are no row versions.
        names: column names of the newest row; None if there are no rows.
        others: sorted names of columns that the source has but the definition lacks, except those left out on purpose.
        truncation_records: number of truncations, counting repeated deliveries.
        truncations: the newest truncations, newest first.
    """

    records: int
    tombstones: int
    unreadable: int
    lowest: str | None
    names: frozenset[str] | None
    others: tuple[str, ...]
    truncation_records: int
    truncations: tuple[Truncation, ...]

    @property
    def readable(self) -> int:
        """Number of row versions, counting repeated deliveries."""
        return self.records - self.tombstones - self.unreadable - self.truncation_records


def land_changes(table: Table, context: RunContext) -> LayerResult:
    """Append the archived changes that a Bronze table does not have yet.

    Raises:
        BatchError: the archive has a gap or a damaged object, or the source's rows lack a required column; nothing was
            written.
    """
    bronze = bronze_table(table, context)
    known = bronze.progress()
    progress = {} if context.full else known
    topic = topic_under(context.definition.topic_prefix, table.source_name)
    done = bronze_progress.positions(progress, topic)
    try:
        found = find_objects(context.spark, context.lake.changes(topic), done)
    except ChainBrokenError as error:
        cure = "; `maintain --archive` has deleted changes that only Bronze still has: use `run --full --layer silver`"
        text = f"the archive of {topic} has a gap: {error}{cure if context.full else ''}"
        raise table_error(table, text) from error
    progress = bronze_progress.with_positions(progress, topic, found.following)
    if not found.paths:
        if context.is_rebuild and bronze.exists() and not bronze.read().isEmpty():
            raise table_error(table, f"the archive has no changes of {topic}, so the table cannot be rebuilt")
        if bronze.exists():
            return unchanged(bronze, table, progress)
        log.warning(
            "bronze/%s: the archive has no changes of %s yet: check that the streams.archive worker is running",
            table.name,
            topic,
        )
        return _made_empty(bronze, table, context)
    landing = _ChangesLanding(bronze=bronze, table=table, context=context, progress=progress)
    is_small = sizes.fits_driver(found.offsets)
    with (
        sizes.set_for_small_query(context.spark, when=is_small),
        sizes.set_for_files(context.spark),
        damage_reported(table.name),
    ):
        return landing.land(found)


@dataclass(frozen=True, kw_only=True)
class _ChangesLanding:
    """Appends the new changes of one table to Bronze in one run."""

    bronze: LakeTable
    table: Table
    context: RunContext
    progress: dict[str, Any]

    def land(self, found: ArchiveSlice) -> LayerResult:
        """Read the archive objects in `found`, and commit their new row versions to Bronze."""
        spark, table = self.context.spark, self.table
        decoded_records = decoded(read_objects(spark, found), table, max_bytes=self.context.settings.row_max_bytes)
        records = with_table_columns(decoded_records, table, self.context.definition).persist()
        try:
            summary = _summarized(records, table, self.context.definition)
            drifted = self._check_columns(summary)
            self.progress.update(with_kept(self.progress, summary.others))
            if summary.unreadable:
                quarantine(unreadable(records, table), self.context)
            rows = self._new_versions(stamped(self._versions(records, summary), table, self.context), summary)
            note = self._left_behind() if self.context.full else ""
            are_few = sizes.fits_driver(summary.readable) and not summary.truncations
            written = self._write(rows, found.stored_bytes, are_few=are_few)
        finally:
            records.unpersist()
        repeats = max(0, summary.readable - written.rows_inserted)
        log.info("bronze/%s: %d records read, %d of them landed earlier", table.name, summary.records, repeats)
        return LayerResult.of(
            written,
            layer="bronze",
            table=table.name,
            progress=self.progress,
            rows_in=summary.records,
            rejected={UNREADABLE: summary.unreadable} if summary.unreadable else {},
            note=note,
            drift=drifted,
        )

    def _versions(self, records: DataFrame, summary: RecordSummary) -> DataFrame:
        """Return the row versions in the records, with the deletes of the table's truncations."""
        rows = versions(records, self.table)
        done = kept_truncations(self.progress)
        self.progress.update(with_seen(self.progress, summary.truncations))
        truncations = kept_truncations(self.progress)
        newest = truncations[-1].sequence if truncations else ""
        if not summary.truncations and (summary.lowest is None or summary.lowest >= newest):
            return rows
        bronze = None if self.context.full else self.bronze
        return with_deletes(rows, self.table, truncations, bronze=bronze, done=done)

    def _write(self, rows: DataFrame, stored_bytes: int, *, are_few: bool) -> Written:
        more: dict[str, Any] = {"partition_by": PARTITIONS, "properties": properties(self.table)}
        more |= {"run_id": self.context.run_id, "progress": self.progress}
        if are_few and not self.context.full:
            return self.bronze.append(Rows.of(rows).collect_if_small(), **more)
        write = self.bronze.replace if self.context.full else self.bronze.append
        # The objects are read in parts of the size of a file (`sizes.set_for_files`), so the rows need no shuffle.
        return write(rows.coalesce(sizes.output_files(stored_bytes)), **more)

    def _left_behind(self) -> str:
        """Return a note on row versions that a full run drops because the archive lacks them; empty if none."""
        if not self.bronze.exists():
            return ""
        count = self.bronze.read().where(F.col("_origin") == JDBC).count()
        return f"{count:,} row versions read directly from the source were dropped" if count else ""

    def _check_columns(self, summary: RecordSummary) -> list[str] | None:
        """Return the drift of the source's columns; None if the records have no row.

        Raises:
            BatchError: the newest row lacks a required column.
        """
        if summary.names is None:
            return None
        missing = [column for column in self.table.columns if column.source_name not in summary.names]
        required = [column.source_name for column in missing if not column.nullable]
        if required:
            what = f"the newest row of the source lacks required columns ({', '.join(required)})"
            cure = "if they were dropped or renamed, change the definition, then run again"
            raise table_error(self.table, f"{what}: nothing was written; {cure}")
        found = drift(self.table, summary.others, [column.source_name for column in missing])
        for text in found:
            log.warning("bronze/%s: %s", self.table.name, text)
        return found

    def _new_versions(self, rows: DataFrame, summary: RecordSummary) -> DataFrame:
        # Of two contents at one position, Silver takes the one with the higher hash, whichever arrives first.
        identity = [*self.table.key, "_sequence", "_row_hash"]
        rows = deduplicated(rows, identity, summary.readable)
        # A delete of a former truncation is newer than the version that it deletes, which is one of these.
        deletes = [each.sequence for each in summary.truncations]
        lowest = min((each for each in (summary.lowest, *deletes) if each is not None), default=None)
        if self.context.full or lowest is None or not self.bronze.exists():
            return rows
        return anti_joined(rows, since(self.bronze, lowest, columns=identity), identity)


def _summarized(records: DataFrame, table: Table, definition: Definition) -> RecordSummary:
    found = records.agg(
        F.count(F.lit(1)).alias("records"),
        F.count_if("_is_tombstone").alias("tombstones"),
        F.expr("count_if(_problem IS NOT NULL)").alias("unreadable"),
        F.expr(f"min(_sequence) FILTER (WHERE {IS_READABLE})").alias("lowest"),
        F.expr("max_by(_names, _sequence) FILTER (WHERE _names IS NOT NULL)").alias("names"),
        F.collect_set("_names").alias("ever"),
        F.count_if(F.expr(IS_TRUNCATION)).alias("truncation_records"),
        found_truncations().alias("truncations"),
    ).first()
    assert found is not None
    ever = {name for names in found["ever"] for name in names.split(BETWEEN)}
    others = sorted(ever - table.lake_columns.keys())
    return RecordSummary(
        records=found["records"],
        tombstones=found["tombstones"],
        unreadable=found["unreadable"],
        lowest=found["lowest"],
        names=None if found["names"] is None else frozenset(found["names"].split(BETWEEN)),
        others=tuple(name for name in others if not is_left_out(table, name, definition)),
        truncation_records=found["truncation_records"],
        truncations=tuple(Truncation.of(each) for each in found["truncations"]),
    )


def _made_empty(bronze: LakeTable, table: Table, context: RunContext) -> LayerResult:
    """Create the Bronze table without rows, so that later layers have a table to read."""
    columns = ", ".join(f"`{name}` STRING" for name in table.column_names)
    rows = context.spark.createDataFrame([], f"{columns}, {_EMPTY}")
    written = bronze.append(
        stamped(rows, table, context),
        run_id=context.run_id,
        progress={},
        partition_by=PARTITIONS,
        properties=properties(table),
    )
    return LayerResult.of(written, layer="bronze", table=table.name, progress={})
