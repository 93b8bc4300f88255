"""The context that a layer works in, and the result that it returns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar

from pyspark.sql import SparkSession

from batch.delta.commits import Written
from batch.delta.table import LakeTable
from batch.storage.paths import Lake
from config.definition import Definition
from config.settings import DatabaseSettings, LakeSettings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The context of one run over one dataset.

    Attributes:
        run_id: unique id, which sorts by the start of the run.
        started_at: start of the run, with a time zone; its UTC day is the Bronze partition of all rows of this run.
        database: login of the source; None if the run may not read tables by JDBC.
        full: process each table's whole input again instead of continuing from its progress.
        is_rebuild: allow a Bronze table to change its feed.
        since, until: bounds of the cursor window for tables read by JDBC, if the operator gave them.
        shared: objects made by `once`, by session and key.
    """

    spark: SparkSession
    lake: Lake
    definition: Definition
    run_id: str
    started_at: datetime
    settings: LakeSettings
    database: DatabaseSettings | None = None
    full: bool = False
    is_rebuild: bool = False
    since: datetime | None = None
    until: datetime | None = None
    shared: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the object that all tables of a session share under `key`; the first call makes it."""
        own = (id(self.spark), key)
        if own not in self.shared:
            self.shared[own] = make()
        found: T = self.shared[own]
        return found

    # Within a session, each table has one object for the whole run, so that its log is read once.

    def table(self, layer: str, name: str) -> LakeTable:
        """Return a table of Bronze or Silver."""
        return self._at(self.lake.table(layer, name), f"{layer}/{name}")

    def dimension(self, name: str) -> LakeTable:
        """Return a dimension of Gold."""
        return self._at(self.lake.dimension(name), f"gold/{name}")

    def fact(self, name: str) -> LakeTable:
        """Return a fact table of Gold."""
        return self._at(self.lake.fact(name), f"gold/{name}")

    def _at(self, path: str, name: str) -> LakeTable:
        return self.once(("table", path), lambda: LakeTable(self.spark, path, name))


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """The outcome of a layer for one table.

    Attributes:
        version: version of the Delta table after the run; None if the table does not exist yet.
        rows_in: number of rows read.
        rows_written: number of rows inserted, updated and deleted.
        rejected: number of rows that broke a rule, by rule name.
        progress: position up to which the layer has read its source; the next run continues from there.
        is_unchanged: whether nothing was written, because nothing was new.
        note: a remark for the printed report.
        also_written: outcomes of other tables that were written in the same step.
    """

    layer: str
    table: str
    version: int | None
    rows_in: int = 0
    rows_written: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    is_unchanged: bool = False
    note: str = ""
    also_written: Sequence[LayerResult] = ()

    @classmethod
    def of(cls, written: Written, *, layer: str, table: str, progress: Mapping[str, Any], **more: Any) -> Self:
        """Return the outcome of a commit; `more` are further attributes, or counts that replace those of the commit."""
        counted = {"rows_in": written.rows_in, "rows_written": written.rows_written}
        return cls(layer=layer, table=table, version=written.version, progress=progress, **{**counted, **more})
