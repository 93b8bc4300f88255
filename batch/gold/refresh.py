"""Updates one Gold table from the changes in its sources since the last build.

1. Read the change data feeds of the sources, and find the keys of the Gold rows that the changes affect.
2. Run the table's query for these keys, and compare the result with the current rows of the table.
3. Merge the differences into the table. This rewrites only files with differing rows; if the table is partitioned, it
   reads only the partitions of the differing rows, before and after the change.

The whole table is rebuilt if it does not exist, if its SQL file or its columns have changed, if a change data feed is
incomplete, or in a full run.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import StructType

from batch.context import LayerResult, RunContext
from batch.delta import sizes
from batch.delta.commits import Written
from batch.delta.delta_rs import DeltaRsError
from batch.delta.rows import Rows
from batch.delta.snapshot import Snapshot
from batch.delta.table import CHANGE_FEED, LakeTable
from batch.delta.widening import types_text, widen, wider_types
from batch.errors import BatchError
from batch.gold.difference import check_keys, difference, is_equal, is_in, stop_if_repeated, unknown_key
from batch.gold.plan import GoldPlan
from batch.gold.query import RESERVED_KEY, affected, gold_source, rows_of

log = logging.getLogger(__name__)

_MOST_PARTITIONS = 1_000
"""Maximum number of partitions listed in a merge condition; if more are affected, the merge reads the whole table."""


@dataclass(frozen=True, kw_only=True)
class _GoldRefresh:
    """One update of a Gold table.

    Attributes:
        target: the Gold table.
        sources: the tables to build from: Silver tables and linked dimensions.
        before: version of each source at the last build.
        now: version of each source for this build.
    """

    plan: GoldPlan
    context: RunContext
    target: LakeTable
    sources: Mapping[str, LakeTable]
    before: Mapping[str, int]
    now: Mapping[str, int]

    @property
    def progress(self) -> dict[str, Any]:
        return {"silver": dict(self.now), "definition": self.plan.fingerprint}

    def rows(self, keys: Rows | None = None) -> DataFrame:
        """Compute the rows that the table should have now; only those with the given keys, unless `keys` is None."""
        tables = {name: self._source_at(name, version) for name, version in self.now.items()}
        return rows_of(self.plan, tables, self.context.spark, keys)

    def feeds(self) -> dict[str, Rows] | None:
        """Return the changes since the last build, by source; None if the change feed of a source is incomplete."""
        changed = {name: self.before[name] for name, version in self.now.items() if self.before[name] != version}
        feeds = {name: self._changed_since(name, version) for name, version in changed.items()}
        known = {name: feed for name, feed in feeds.items() if feed is not None}
        return known if known.keys() == feeds.keys() else None

    # Results are shared: several Gold tables read the same version of a source, and listing its files takes Spark jobs.

    def _source_at(self, name: str, version: int) -> Snapshot:
        return self.context.once(("source", name, version), lambda: self.sources[name].at(version))

    def _changed_since(self, name: str, version: int) -> Rows | None:
        key = ("feed", name, version, self.now[name])
        return self.context.once(key, lambda: self.sources[name].changed_since(version))


def gold_table(plan: GoldPlan, context: RunContext) -> LakeTable:
    """Return the Delta table that a plan builds."""
    return context.dimension(plan.name) if plan.kind == "dimension" else context.fact(plan.name)


def build(plan: GoldPlan, context: RunContext) -> LayerResult:
    """Update the Gold table of a plan from its sources; a full run rebuilds it.

    Raises:
        BatchError: a source table does not exist, or the plan's query is invalid.
    """
    refresh = _planned(plan, context)
    done = refresh.target.progress()
    if done == refresh.progress and not context.full:
        version = refresh.target.version()
        return LayerResult(layer="gold", table=plan.name, version=version, progress=done, is_unchanged=True)
    is_small = sizes.are_small_tables([refresh.target, *refresh.sources.values()])
    with sizes.set_for_small_query(context.spark, when=is_small), _named_errors(plan):
        written = _brought_up(refresh, done)
    return LayerResult.of(written, layer="gold", table=plan.name, progress=refresh.progress)


@contextlib.contextmanager
def _named_errors(plan: GoldPlan) -> Iterator[None]:
    """Convert an error that the query raised on purpose (`raise_error`) to a `BatchError`.

    Its text is shown if the query has it word for word; a text that the query composes may have values of rows.
    """
    try:
        yield
    except PySparkException as error:
        if error.getCondition() != "USER_RAISED_EXCEPTION":
            raise
        text = (error.getMessageParameters() or {}).get("errorMessage", "")
        if text != RESERVED_KEY and text not in plan.query:
            text = "the query raised an error (raise_error) whose text may have values of rows"
        raise BatchError(text, layer="gold", table=plan.name) from None


def _brought_up(refresh: _GoldRefresh, done: Mapping[str, Any]) -> Written:
    is_same_table = done.get("definition") == refresh.plan.fingerprint and done["silver"].keys() == refresh.now.keys()
    written = _continued(refresh) if is_same_table and not refresh.context.full else None
    return _built(refresh) if written is None else written


def _planned(plan: GoldPlan, context: RunContext) -> _GoldRefresh:
    target = gold_table(plan, context)
    sources = {name: context.table("silver", name) for name in plan.tables}
    for link in plan.links:
        sources[gold_source(link.dimension)] = context.dimension(link.dimension)
    now = {name: table.version() for name, table in sources.items()}
    missing = [table.name for name, table in sources.items() if now[name] < 0]
    if missing:
        text = f"source tables do not exist: {', '.join(missing)}; run their layers first"
        raise BatchError(text, layer="gold", table=plan.name)
    before = target.progress().get("silver", {})
    return _GoldRefresh(plan=plan, context=context, target=target, sources=sources, before=before, now=now)


def _built(refresh: _GoldRefresh) -> Written:
    """Rebuild the whole table from its sources."""
    rows = Rows.of(refresh.rows())
    partition_by = [refresh.plan.partition] if refresh.plan.partition else []
    if sizes.are_small_tables(refresh.sources.values()):
        rows = rows.collect_if_small()
    check_keys(rows, refresh.plan)
    return refresh.target.replace(
        rows.repartitioned(partition_by),  # one task, and so one file, for each partition
        run_id=refresh.context.run_id,
        progress=refresh.progress,
        partition_by=partition_by,
        properties=None if refresh.plan.versions_of is None else CHANGE_FEED,  # facts read this feed
    )


def _continued(refresh: _GoldRefresh) -> Written | None:
    """Merge the changes since the last build into the table; return None if the table must be rebuilt instead."""
    try:
        feeds = refresh.feeds()
        if feeds is None:
            return None
        table = refresh.target.at()
        concerned = affected(refresh.plan, feeds, table)
        keys = None if concerned is None else Rows.of(concerned).collect_if_small()
        if keys is not None and keys.count_if_known == 0:
            return _noted(refresh)
        now = refresh.rows(keys)
        if not _fits(refresh, now.schema, table.schema):
            return None
        table = refresh.target.at()
        if keys is None:
            was = table.read().frame
        else:
            was = table.with_keys(keys, [(name, name) for name in refresh.plan.mapped]).frame
            was, now = _without_unknown(was, refresh.plan), _without_unknown(now, refresh.plan)
        with Rows.of(difference(was, now, refresh.plan)).collected_or_persisted() as rows:
            return _merged(rows, refresh)
    except (PySparkException, DeltaRsError) as error:
        if not _is_gone(error):
            raise
        log.warning(
            "gold/%s: the sources no longer have all changes since the last build; rebuilding the whole table",
            refresh.plan.name,
        )
        return None


def _fits(refresh: _GoldRefresh, now: StructType, there: StructType) -> bool:
    """Return whether rows with the columns `now` can be merged into the table, after giving its columns wider types."""
    wider = wider_types(there, {each.name: each.dataType for each in now})
    if now.names != there.names or wider is None:
        text = "gold/%s: the query's columns or types have changed, and not to wider ones; rebuilding the whole table"
        log.info(text, refresh.plan.name)
        return False
    if wider and refresh.plan.is_published:  # by delta-rs, which does not read tables with wider types
        log.info("gold/%s: wider types; rebuilding the whole table: %s", refresh.plan.name, types_text(wider))
        return False
    if wider:
        widen(refresh.target, wider, run_id=refresh.context.run_id)
        log.info("gold/%s: wider types, in the metadata alone: %s", refresh.plan.name, types_text(wider))
    return True


def _without_unknown(rows: DataFrame, plan: GoldPlan) -> DataFrame:
    """Return the rows without the unknown member, which `_GoldRefresh.rows` includes no matter what the keys are."""
    if not plan.has_members:
        return rows
    return rows.where(F.col(plan.key[0]) != unknown_key(rows.schema[plan.key[0]].dataType, plan))


def _merged(rows: Rows, refresh: _GoldRefresh) -> Written:
    """Merge the rows of `difference` into the table, reading only their partitions before and after the change."""
    plan, run_id = refresh.plan, refresh.context.run_id
    count, partitions = rows.count_and_values([plan.partition, "_was"] if plan.partition else [])
    if count == 0:
        return _noted(refresh)
    if rows.has_above("_times", 1):
        stop_if_repeated(rows.frame, "_times", plan)
    rows = rows.select(*(name for name in rows.schema.names if name not in ("_was", "_times")))
    columns = [name for name in rows.schema.names if name != "_gone"]
    nullable = rows.nullable_columns(plan.row_key)
    on = " AND ".join(is_equal(name, is_nullable=name in nullable) for name in plan.row_key)
    if plan.partition and len(partitions) <= _MOST_PARTITIONS and not any("\\" in str(each) for each in partitions):
        listed = sorted(map(literal, partitions - {None}))
        on += f" AND {is_in(plan.partition, listed, has_null=None in partitions)}"
    same = " AND ".join(f"(t.`{name}` IS NOT DISTINCT FROM s.`{name}`)" for name in columns)
    return refresh.target.merge(
        rows,
        on=on,
        set_when=f"NOT ({same})",
        insert_when="NOT s._gone",
        delete_when="s._gone",
        evolve=False,
        run_id=run_id,
        progress=refresh.progress,
    )


def _noted(refresh: _GoldRefresh) -> Written:
    """Commit the new progress without writing any rows."""
    return refresh.target.note(run_id=refresh.context.run_id, progress=refresh.progress)


def literal(value: object) -> str:
    """Return a number or text as a SQL literal that has the same value in DataFusion and in Spark.

    The text must not contain a backslash, which only Spark treats as an escape character.
    """
    if isinstance(value, int):
        return str(value)
    text = str(value).replace("'", "''")
    return f"'{text}'"


def _is_gone(error: PySparkException | DeltaRsError) -> bool:
    """Return whether the changes since the last build can't be read any more.

    `maintain` has deleted old files or versions, or a column of the source has got another type in between.
    """
    if isinstance(error, DeltaRsError):
        return error.is_gone
    signs = ("FileNotFound", "FILE_NOT_", "DELTA_VERSION", "DELTA_LOG_FILE", "INCOMPATIBLE_SCHEMA_CHANGE")
    return any(sign in str(error) for sign in signs)
