"""The manifest of a run: the outcome of each table, and the version of each table in force after the run.

A version is in force if the newest manifest names it. The manifest is written last, when all tables of the run are
committed. `show`, `sql` and `reconcile` read the versions in force, so that nobody sees a half-finished run. A run of
the service that found nothing new writes no manifest.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from batch.errors import BatchError
from batch.storage.objects import ObjectFolder

RECENT: Final = timedelta(days=1)
"""The newest manifest is first searched among those of this period; if there are none, all manifests are listed."""

_SUFFIX: Final = ".json"
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"


class TableRun(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The outcome of a run for one table.

    `version` is None while the table does not exist. `rejected` counts rows by the quality rule that they break,
    including rules that only warn.
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
    error: str | None = None

    @property
    def name(self) -> str:
        """Layer and table, as in `silver/orders`."""
        return f"{self.layer}/{self.table}"


class Manifest(msgspec.Struct, kw_only=True):
    """The manifest of one run.

    Attributes:
        tables: outcomes of the tables that the run processed.
        versions: version in force after the run of every table of the dataset, by layer and table.
        progress: progress of every table at that version, by layer and table.
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
        """One line for each table that failed."""
        return [f"{table.name}: {table.error}" for table in self.tables if table.error is not None]

    @property
    def seconds(self) -> float:
        """Duration of the run in seconds."""
        return (self.ended_at - self.started_at).total_seconds()


def new_run_id(now: datetime) -> str:
    """Return a unique id that sorts by time."""
    return f"{now.astimezone(UTC).strftime(_TIME)}-{secrets.token_hex(3)}"


def versions_after(previous: Mapping[str, int], tables: Iterable[TableRun]) -> dict[str, int]:
    """Return the versions in force after a run; tables that failed or were not touched keep their previous version."""
    now = {table.name: table.version for table in tables if table.version is not None and table.error is None}
    return dict(previous) | now


def progress_after(previous: Mapping[str, dict[str, Any]], tables: Iterable[TableRun]) -> dict[str, dict[str, Any]]:
    """Return the progress of each table at its version in force after a run."""
    now = {table.name: table.progress for table in tables if table.progress and table.error is None}
    return dict(previous) | now


class Manifests:
    """The stored manifests of one dataset."""

    def __init__(self, folder: ObjectFolder) -> None:
        self._folder = folder

    def write(self, manifest: Manifest) -> None:
        """Write a manifest, which makes the run visible to readers."""
        self._folder.write(f"{manifest.run_id}{_SUFFIX}", msgspec.json.format(msgspec.json.encode(manifest)))

    def newest(self, now: datetime) -> Manifest | None:
        """Return the manifest whose versions are in force; None before the first run."""
        recent = (now - RECENT).astimezone(UTC).strftime(_TIME)
        names = self._run_names(after=recent) or self._run_names()
        return self._read(names[-1]) if names else None

    def last(self, count: int | None = None) -> list[Manifest]:
        """Return the last `count` manifests (default: all), newest first."""
        names = self._run_names()[::-1]
        return [self._read(name) for name in names[:count]]

    def _run_names(self, *, after: str = "") -> list[str]:
        return [name for name in self._folder.names(after=after) if name.endswith(_SUFFIX)]

    def _read(self, name: str) -> Manifest:
        try:
            return msgspec.json.decode(self._folder.read(name), type=Manifest)
        except msgspec.DecodeError as error:
            what = f"manifest {name} is damaged ({error})"
            raise BatchError(f"{what}: remove that object; the next run writes a new one") from None
