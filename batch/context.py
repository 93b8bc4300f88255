"""The input of a layer, and its result."""

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
    """One run over one dataset.

    Attributes:
        run_id: sorts by the time of the start, and is unique.
        started_at: with its zone; the UTC day is the day under which Bronze keeps what this run lands.
        database: the source, for tables that are read by JDBC; without it those are an error.
        full: make the tables again instead of continuing from their progress.
        is_rebuild: a table of Bronze may also change its feed then.
        since, until: the window of a table that is read by JDBC, where the operator names it.
        shared: objects made by `once`.
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
        """An object that several tables of a session share: made by the first of them, found by the others by `key`."""
        own = (id(self.spark), key)
        if own not in self.shared:
            self.shared[own] = make()
        found: T = self.shared[own]
        return found

    # A table is one object for all that a session does in the run, so that its log is read once.

    def table(self, layer: str, name: str) -> LakeTable:
        """A table of Bronze or Silver."""
        return self._at(self.lake.table(layer, name), f"{layer}/{name}")

    def dimension(self, name: str) -> LakeTable:
        """A dimension of Gold."""
        return self._at(self.lake.dimension(name), f"gold/{name}")

    def fact(self, name: str) -> LakeTable:
        """A fact table of Gold."""
        return self._at(self.lake.fact(name), f"gold/{name}")

    def _at(self, path: str, name: str) -> LakeTable:
        return self.once(("table", path), lambda: LakeTable(self.spark, path, name))


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """The outcome of a layer for one table.

    Attributes:
        version: of the Delta table after the run; None if there is no table yet.
        rows_in: that were looked at.
        rows_written: inserted, updated and deleted together.
        rejected: rows that broke a rule, by rule.
        progress: how far the layer has read its source; the next run continues from here.
        is_unchanged: nothing was new, so nothing was written.
        note: a remark for people.
        also_written: of the tables that were written with it.
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
        """The outcome of a commit; `more` are other attributes, or other counts for the same ones."""
        counted = {"rows_in": written.rows_in, "rows_written": written.rows_written}
        return cls(layer=layer, table=table, version=written.version, progress=progress, **{**counted, **more})
