"""Manifests: each run writes one, with the outcome of each table and the table versions to read after the run.

A table version is published when the newest manifest lists it. A run writes its manifest last, after all its tables
have been committed, and `show`, `sql` and `reconcile` read only published versions. So nobody sees a half-finished run.
The service writes no manifest for a run that found nothing new.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from batch.errors import BatchError
from batch.storage.objects import ObjectFolder

RECENT: Final = timedelta(days=1)
"""How far back to search for the newest manifest; if this finds none, all manifests are listed."""

_SUFFIX: Final = ".json"
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"


class TableRun(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The outcome of a run for one table.

    Attributes:
        version: Delta version of the table after the run; None if the table does not exist.
        behind: names of failed tables of the same run that this table depends on, directly or not.
        rejected: number of rows that break a quality rule, by rule name, including rules that only warn.
    """

    layer: str
    table: str
    version: int | None = None
    unchanged: bool = False
    rows_in: int = 0
    rows_written: int = 0
    rejected: dict[str, int] = {}
    seconds: float = 0.0
    progress: dict[str, Any] = {}
    note: str = ""
    behind: list[str] = []
    error: str | None = None

    @property
    def name(self) -> str:
        """The layer and the table, such as `silver/orders`."""
        return f"{self.layer}/{self.table}"


class Manifest(msgspec.Struct, kw_only=True):
    """The record of one run: the outcome of each table, and the published versions of all tables.

    Attributes:
        tables: outcomes of the tables that the run processed.
        versions: published version of every table of the dataset after the run, keyed by layer and table.
        progress: how far each table has read its input at its published version, keyed by layer and table.
    """

    run_id: str
    dataset: str
    started_at: datetime
    ended_at: datetime
    tables: list[TableRun]
    versions: dict[str, int]
    progress: dict[str, dict[str, Any]] = {}

    @property
    def errors(self) -> list[str]:
        """The errors of the tables that failed, each as `table: error`."""
        return [f"{table.name}: {table.error}" for table in self.tables if table.error is not None]

    @property
    def seconds(self) -> float:
        """The duration of the run in seconds."""
        return (self.ended_at - self.started_at).total_seconds()


def new_run_id(now: datetime) -> str:
    """Return a unique run id; ids sort by the start time of their runs."""
    return f"{now.astimezone(UTC).strftime(_TIME)}-{secrets.token_hex(3)}"


def versions_after(previous: Mapping[str, int], tables: Iterable[TableRun]) -> dict[str, int]:
    """Return the published versions after a run; tables that failed or were skipped keep their previous version."""
    now = {table.name: table.version for table in tables if table.version is not None and table.error is None}
    return dict(previous) | now


def progress_after(previous: Mapping[str, dict[str, Any]], tables: Iterable[TableRun]) -> dict[str, dict[str, Any]]:
    """Return each table's progress after a run; tables that failed or were skipped keep their previous progress."""
    now = {table.name: table.progress for table in tables if table.progress and table.error is None}
    return dict(previous) | now


class Manifests:
    """The manifests of one dataset, stored as JSON objects in one folder."""

    def __init__(self, folder: ObjectFolder) -> None:
        self._folder = folder

    def write(self, manifest: Manifest) -> None:
        """Write the manifest of a run, which publishes the run's table versions to readers."""
        self._folder.write(f"{manifest.run_id}{_SUFFIX}", msgspec.json.format(msgspec.json.encode(manifest)))

    def newest(self, now: datetime) -> Manifest | None:
        """Return the newest manifest, or None if no run has written one; `now` is the current time."""
        recent = (now - RECENT).astimezone(UTC).strftime(_TIME)
        names = self._run_names(after=recent) or self._run_names()
        return self._read(names[-1]) if names else None

    def last(self, count: int | None = None) -> list[Manifest]:
        """Return the last `count` manifests, newest first; all manifests if `count` is None."""
        return list(itertools.islice(self.newest_first(), count))

    def newest_first(self) -> Iterator[Manifest]:
        """Yield all manifests, newest first; each is read when it is asked for."""
        return map(self._read, reversed(self._run_names()))

    def _run_names(self, *, after: str = "") -> list[str]:
        return [name for name in self._folder.names(after=after) if name.endswith(_SUFFIX)]

    def _read(self, name: str) -> Manifest:
        try:
            return msgspec.json.decode(self._folder.read(name), type=Manifest)
        except msgspec.DecodeError as error:
            what = f"manifest {name} is damaged ({error})"
            raise BatchError(f"{what}: delete this object; the next run writes a new manifest") from None
