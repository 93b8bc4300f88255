"""The context that is passed to each layer of a run, and the result that a layer returns for a table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar

from pyspark.sql import SparkSession

from batch.delta.commits import Written
from batch.delta.table import LakeTable
from batch.storage.paths import Lake
from config.definition import Definition
from config.engines.base import SourceSettings
from config.settings import LakeSettings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The Spark session, dataset, settings and options that all layers of one run share.

    Attributes:
        run_id: unique id of the run; ids sort by the start time of their runs.
        started_at: start of the run, timezone-aware; Bronze stores all rows of the run in the partition of its UTC day.
        database: login for the source database; None if the run does not read it.
        full: process the whole input of each table again instead of continuing from its recorded progress.
        is_rebuild: allow a Bronze table to switch between the feeds `changes` and `jdbc`.
        since, until: bounds of the cursor window for tables read by JDBC; None if the user gave no bound.
        shared: objects that `once` has created, keyed by session and by the key passed to `once`, and those of
            `once_for_all`, keyed by the key alone.
        lock: held while `once_for_all` creates an object.
    """

    spark: SparkSession
    lake: Lake
    definition: Definition
    run_id: str
    started_at: datetime
    settings: LakeSettings
    database: SourceSettings | None = None
    full: bool = False
    is_rebuild: bool = False
    since: datetime | None = None
    until: datetime | None = None
    shared: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the object stored under `key` for this Spark session; the first call creates it with `make`."""
        own = (id(self.spark), key)
        if own not in self.shared:
            self.shared[own] = make()
        found: T = self.shared[own]
        return found

    def once_for_all(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the object stored under `key` for the whole run; it is created once, whichever thread asks first."""
        with self.lock:
            if key not in self.shared:
                self.shared[key] = make()
            found: T = self.shared[key]
            return found

    # One object per table and session for the whole run, so that the table's Delta log is read only once.

    def table(self, layer: str, name: str) -> LakeTable:
        """Return the Bronze or Silver table with this name."""
        return self._at(self.lake.table(layer, name), f"{layer}/{name}")

    def dimension(self, name: str) -> LakeTable:
        """Return the Gold dimension with this name."""
        return self._at(self.lake.dimension(name), f"gold/{name}")

    def fact(self, name: str) -> LakeTable:
        """Return the Gold fact table with this name."""
        return self._at(self.lake.fact(name), f"gold/{name}")

    def _at(self, path: str, name: str) -> LakeTable:
        return self.once(("table", path), lambda: LakeTable(self.spark, path, name))


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """The outcome of processing one table in one layer.

    Attributes:
        version: version of the Delta table after the run; None if the table does not exist yet.
        rows_in: number of rows read.
        rows_written: number of rows inserted, updated and deleted.
        files: number of data files that the commit added.
        rejected: number of rows that broke a rule, by rule name.
        progress: position up to which the layer has read the table's input; the next run continues from there.
        is_unchanged: whether the table was left unchanged because there was nothing new.
        note: a remark for the printed report.
        also_written: outcomes of other tables that the same step wrote.
        drift: differences between the columns of the source and of the definition; None if the source was not read.
    """

    layer: str
    table: str
    version: int | None
    rows_in: int = 0
    rows_written: int = 0
    files: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    is_unchanged: bool = False
    note: str = ""
    also_written: Sequence[LayerResult] = ()
    drift: Sequence[str] | None = None

    @classmethod
    def of(cls, written: Written, *, layer: str, table: str, progress: Mapping[str, Any], **more: Any) -> Self:
        """Create the result of a commit; `more` sets further attributes and may override the commit's row counts."""
        counted = {"rows_in": written.rows_in, "rows_written": written.rows_written, "files": written.files}
        return cls(layer=layer, table=table, version=written.version, progress=progress, **{**counted, **more})
