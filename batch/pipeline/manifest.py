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
_DEFINITION: Final = "definition"
"""The entry of Silver's progress with the fingerprint of its definition."""
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"


class TableRun(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The outcome of a run for one table.

    Attributes:
        version: Delta version of the table after the run; None if the table does not exist.
        behind: names of failed tables of the same run that this table depends on, directly or not.
        held_by: names of failed dimensions that this fact refers to; its version is published only with theirs.
        files: number of data files that the run added.
        rejected: number of rows that break a quality rule, by rule name, including rules that only warn.
        drift: differences between the columns of the source and of the definition; None if the run did not look.
    """

    layer: str
    table: str
    version: int | None = None
    unchanged: bool = False
    rows_in: int = 0
    rows_written: int = 0
    files: int = 0
    rejected: dict[str, int] = {}
    seconds: float = 0.0
    progress: dict[str, Any] = {}
    note: str = ""
    behind: list[str] = []
    held_by: list[str] = []
    drift: list[str] | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """The layer and the table, such as `silver/orders`."""
        return f"{self.layer}/{self.table}"

    @property
    def is_published(self) -> bool:
        """Whether readers may use the table's version after the run."""
        return self.error is None and not self.held_by


class Manifest(msgspec.Struct, kw_only=True):
    """The record of one run: the outcome of each table, and the published versions of all tables.

    Attributes:
        tables: outcomes of the tables that the run processed.
        versions: published version of every table of the dataset after the run, keyed by layer and table.
        progress: how far each table has read its input at its published version, keyed by layer and table.
        drift: differences between the columns of the source and of the definition, as last seen, keyed by layer and
            table; tables without a difference are left out.
    """

    run_id: str
    dataset: str
    started_at: datetime
    ended_at: datetime
    tables: list[TableRun]
    versions: dict[str, int]
    progress: dict[str, dict[str, Any]] = {}
    drift: dict[str, list[str]] = {}

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


def _time_in(name: str) -> datetime:
    """Return the time with which the name of a manifest begins."""
    return datetime.strptime(name.partition("-")[0], _TIME).replace(tzinfo=UTC)


def versions_after(previous: Mapping[str, int], tables: Iterable[TableRun]) -> dict[str, int]:
    """Return the published versions after a run.

    Tables that failed, were skipped, or refer to a dimension that failed keep their previous version.
    """
    now = {table.name: table.version for table in tables if table.version is not None and table.is_published}
    return dict(previous) | now


def progress_after(previous: Mapping[str, dict[str, Any]], tables: Iterable[TableRun]) -> dict[str, dict[str, Any]]:
    """Return each table's progress after a run; tables whose version stays as before keep their previous progress."""
    now = {table.name: table.progress for table in tables if table.progress and table.is_published}
    return dict(previous) | now


def drift_after(previous: Manifest | None, tables: Iterable[TableRun]) -> dict[str, list[str]]:
    """Return the drift of each table after a run; tables that did not look at their source keep the former one.

    It is not kept if the definition of the table has changed since, which Silver's progress tells: it says how the
    source differed from another definition.
    """
    tables = list(tables)
    progress = {} if previous is None else previous.progress
    kept = {} if previous is None else dict(previous.drift)
    for table in tables:
        defined = progress.get(table.name, {}).get(_DEFINITION)
        if table.layer == "silver" and table.error is None and defined not in (None, table.progress.get(_DEFINITION)):
            kept.pop(f"bronze/{table.table}", None)
    seen = {table.name: table.drift for table in tables if table.drift is not None}
    return {name: found for name, found in (kept | seen).items() if found}


class Manifests:
    """The manifests of one dataset, stored as JSON objects in one folder."""

    def __init__(self, folder: ObjectFolder) -> None:
        self._folder = folder

    def write(self, manifest: Manifest) -> None:
        """Write the manifest of a run, which publishes the run's table versions to readers.

        Its name is the run's id. If this would not be the last name, because another host's clock is ahead or because
        a later run ended earlier, the name is the next one after the last, so that the newest manifest is this one.
        """
        name, names = f"{manifest.run_id}{_SUFFIX}", self._run_names()[-1:]
        if names and names[0] > name:
            name = f"{new_run_id(_time_in(names[0]) + timedelta(microseconds=1))}{_SUFFIX}"
        self._folder.write(name, msgspec.json.format(msgspec.json.encode(manifest)))

    def forget(self, before: datetime) -> int:
        """Delete the manifests of runs before a time, except the newest; return the number of deleted manifests."""
        limit = before.astimezone(UTC).strftime(_TIME)
        old = [name for name in self._run_names()[:-1] if name < limit]
        for name in old:
            self._folder.remove(name)
        return len(old)

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
