"""Checks whether a run would have nothing to do, from object names and metadata alone, so that Spark need not start.

The check is conservative: Spark is started unless the newest manifest meets all of these conditions.

1. Its run had no error, and it lists all tables of the dataset.
2. Silver and Gold: the progress recorded for each table is what a run would record now: the versions of the tables that
   it reads, and the fingerprint of its definition or SQL file. This also detects a new release of the code that has to
   rebuild a table, because the table then has a different fingerprint.
3. The newest commit of each table is the version in the manifest: nothing has been written to the table since.
4. Bronze: the archive has no object with offsets that Bronze has not yet read. (The archive objects of a topic
   partition form a chain: each object starts at the offset after the last one of its predecessor.)

So Spark always starts if a table is read by JDBC, if the storage cannot be listed without Spark, and after any fault;
the run then does the work or reports the fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from batch import gold
from batch.bronze import progress as bronze_progress
from batch.errors import BatchError
from batch.gold.query import gold_source
from batch.pipeline.manifest import Manifest, TableRun
from batch.pipeline.plan import table_names
from batch.silver.shape import fingerprint
from batch.storage.chains import objects_from
from batch.storage.objects import ObjectFolder
from batch.storage.paths import Lake
from config.definition import Definition, Table
from streams.model.archive_chain import LAST_OFFSET, ChainBrokenError, walk
from streams.topics import topic_under

FolderAt = Callable[[str], ObjectFolder]
"""A function that opens the folder at the given URI of the object storage."""

_COMMIT: Final = re.compile(r"\d{20}\.json")


def find_up_to_date(
    previous: Manifest, definition: Definition, lake: Lake, folder_at: FolderAt
) -> list[TableRun] | None:
    """Return an unchanged outcome for each table if there is no new input since `previous`, else None."""
    check = _UpToDateCheck(previous=previous, definition=definition, lake=lake, folder_at=folder_at)
    if previous.errors or not check.has_expected_progress():
        return None
    try:
        if not (check.has_newest_commits() and check.is_read_to_the_end()):
            return None
    except (BatchError, ChainBrokenError, FileNotFoundError, KeyError, ValueError):
        return None
    return [_unchanged_run(previous, *name.split("/")) for name in check.table_paths()]


def _unchanged_run(previous: Manifest, layer: str, table: str) -> TableRun:
    name = f"{layer}/{table}"
    version, progress = previous.versions[name], previous.progress.get(name, {})
    return TableRun(layer=layer, table=table, version=version, progress=progress, unchanged=True)


@dataclass(frozen=True, kw_only=True)
class _UpToDateCheck:
    """The conditions of the up-to-date check; a method that reads the storage raises an error if it cannot decide."""

    previous: Manifest
    definition: Definition
    lake: Lake
    folder_at: FolderAt

    def table_paths(self) -> dict[str, str]:
        """Return the path of every table of the dataset, by layer and table (`silver/orders`), from Bronze to Gold."""
        names = [(layer, name) for layer in ("bronze", "silver") for name in table_names(self.definition, layer)]
        found = {f"{layer}/{name}": self.lake.table(layer, name) for layer, name in names}
        for plan in gold.plans(self.definition):
            is_dimension = plan.kind == "dimension"
            found[f"gold/{plan.name}"] = (self.lake.dimension if is_dimension else self.lake.fact)(plan.name)
        return found

    def has_expected_progress(self) -> bool:
        """Return whether Silver and Gold were built from their newest sources and with the current definitions."""
        versions = self.previous.versions
        if not self.table_paths().keys() <= versions.keys():  # it may list tables that left the definition
            return False
        expected: dict[str, dict[str, Any]] = {}
        for table in self.definition.tables:
            shape = fingerprint(table)
            expected[f"silver/{table.name}"] = {"bronze": versions[f"bronze/{table.name}"], "definition": shape}
        for plan in gold.plans(self.definition):
            shown = {name: versions[f"silver/{name}"] for name in plan.tables}
            shown |= {name: versions[name] for name in map(gold_source, (link.dimension for link in plan.links))}
            expected[f"gold/{plan.name}"] = {"silver": shown, "definition": plan.fingerprint}
        return all(self.previous.progress.get(name) == progress for name, progress in expected.items())

    def has_newest_commits(self) -> bool:
        """Return whether every table's newest commit is the version in the manifest."""
        return all(self._has_newest_commit(name, path) for name, path in self.table_paths().items())

    def _has_newest_commit(self, name: str, path: str) -> bool:
        version = f"{self.previous.versions[name]:020d}"
        log = self.folder_at(f"{path}/_delta_log")
        return [each for each in log.names(after=f"{version}.") if _COMMIT.fullmatch(each)] == [f"{version}.json"]

    def is_read_to_the_end(self) -> bool:
        """Return whether Bronze has read every record in the archive."""
        return all(self._is_read_to_the_end(table) for table in self.definition.tables)

    def _is_read_to_the_end(self, table: Table) -> bool:
        topic = topic_under(self.definition.topic_prefix, table.source_name)
        progress = self.previous.progress.get(f"bronze/{table.name}", {})
        positions = bronze_progress.positions(progress, topic)
        others = progress.keys() - bronze_progress.NO_POSITIONS
        if table.feed != "changes" or len(positions) != len(others):  # it is or was read by JDBC
            return False
        archive = self.lake.changes(topic)
        partitions = [name for name in self.folder_at(archive).folders() if name.isdecimal()]
        return all(_ends(self.folder_at(f"{archive}/{name}"), positions.get(int(name), 0)) for name in partitions)


def _ends(chain: ObjectFolder, position: int) -> bool:
    """Return whether the chain ends before `position`: all offsets in its archive objects are lower."""
    by_start = objects_from(chain, position)
    pieces = walk(by_start, lambda start: int(chain.metadata(by_start[start])[LAST_OFFSET]), position=position)
    return next(pieces, None) is None
