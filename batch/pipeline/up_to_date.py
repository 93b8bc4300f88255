"""Whether a run would find nothing new, told from names in object storage alone: then Spark need not be started.

It is a proof, never a guess. What the newest manifest says is held against what lies there:

1. The run of the manifest left no error, and it knows every table of the dataset and no others.
2. Silver and Gold: the progress of each table is what a run would note now, that is the versions of the layer before
   it and the fingerprint of its definition or file. So new code needs no rule of its own: what it would make anew has
   another fingerprint.
3. The newest commit of each table is the one of the manifest: nobody has written the table since.
4. Bronze: each chain of the archive ends before the next offset of the progress.

Whatever else is found, a feed that reads the database or a storage that can't be listed without Spark included, is no
proof: the run goes on with Spark, which does the work or names what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from batch import gold
from batch.bronze import progress as bronze_progress
from batch.errors import BatchError
from batch.gold.query import gold_source
from batch.pipeline.manifest import Manifest, TableRun
from batch.pipeline.plan import table_names
from batch.silver import refine
from batch.storage.objects import ObjectFolder
from batch.storage.paths import Lake
from config.definition import Definition, Table
from streams.model.archive_chain import LAST_OFFSET, ChainBrokenError, before_object, start_of, walk
from streams.topics import change_topic

FolderAt = Callable[[str], ObjectFolder]
"""The folder at a URI of the lake."""

_COMMIT: Final = re.compile(r"\d{20}\.json")
_BACK: Final = 1_000_000
"""So many offsets before the next one the listing of a chain begins; from its start if no object is among them."""


def find_up_to_date(
    previous: Manifest, definition: Definition, lake: Lake, folder_at: FolderAt
) -> list[TableRun] | None:
    """What a run after `previous` would say of each table if nothing is new; None if that is not proven."""
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
    """The steps of the proof; those that look into the storage raise if it can't be told."""

    previous: Manifest
    definition: Definition
    lake: Lake
    folder_at: FolderAt

    def table_paths(self) -> dict[str, str]:
        """Every table of the dataset in the order of the layers, and where it is."""
        names = [(layer, name) for layer in ("bronze", "silver") for name in table_names(self.definition, layer)]
        found = {f"{layer}/{name}": self.lake.table(layer, name) for layer, name in names}
        for plan in gold.plans(self.definition):
            is_dimension = plan.kind == "dimension"
            found[f"gold/{plan.name}"] = (self.lake.dimension if is_dimension else self.lake.fact)(plan.name)
        return found

    def has_expected_progress(self) -> bool:
        """Whether Silver shows what Bronze has, and Gold what Silver has, each by its present definition."""
        versions = self.previous.versions
        if versions.keys() != self.table_paths().keys():
            return False
        expected: dict[str, dict[str, Any]] = {}
        for table in self.definition.tables:
            shape = refine.fingerprint(table)
            expected[f"silver/{table.name}"] = {"bronze": versions[f"bronze/{table.name}"], "definition": shape}
        for plan in gold.plans(self.definition):
            shown = {name: versions[f"silver/{name}"] for name in plan.tables}
            shown |= {name: versions[name] for name in map(gold_source, (link.dimension for link in plan.links))}
            expected[f"gold/{plan.name}"] = {"silver": shown, "definition": plan.fingerprint}
        return all(self.previous.progress.get(name) == progress for name, progress in expected.items())

    def has_newest_commits(self) -> bool:
        """Whether nobody has committed to a table since, or removed it."""
        return all(self._has_newest_commit(name, path) for name, path in self.table_paths().items())

    def _has_newest_commit(self, name: str, path: str) -> bool:
        version = f"{self.previous.versions[name]:020d}"
        log = self.folder_at(f"{path}/_delta_log")
        return [each for each in log.names(after=f"{version}.") if _COMMIT.fullmatch(each)] == [f"{version}.json"]

    def is_read_to_the_end(self) -> bool:
        """Whether Bronze has everything that the archive has."""
        return all(self._is_read_to_the_end(table) for table in self.definition.tables)

    def _is_read_to_the_end(self, table: Table) -> bool:
        topic = change_topic(self.definition.name, table.name, engine=self.definition.engine)
        progress = self.previous.progress.get(f"bronze/{table.name}", {})
        positions = bronze_progress.positions(progress, topic)
        if table.feed != "changes" or len(positions) != len(progress):  # it was filled from another feed before
            return False
        archive = self.lake.changes(topic)
        partitions = [name for name in self.folder_at(archive).folders() if name.isdecimal()]
        return all(_ends(self.folder_at(f"{archive}/{name}"), positions.get(int(name), 0)) for name in partitions)


def _ends(chain: ObjectFolder, position: int) -> bool:
    """Whether the chain has nothing at `position` or after it."""
    by_start = dict(_objects(chain, position))
    pieces = walk(by_start, lambda start: int(chain.metadata(by_start[start])[LAST_OFFSET]), position=position)
    return next(pieces, None) is None


def _objects(chain: ObjectFolder, position: int) -> Iterator[tuple[int, str]]:
    """Objects and their starts: all after `position`, and the last one that starts before it."""
    first = max(0, position - _BACK)
    names = chain.names(after=_text(first))
    if first and not any((start := start_of(name)) is not None and start <= position for name in names):
        names = chain.names()
    return ((start, name) for name in names if (start := start_of(name)) is not None)


def _text(start: int) -> str:
    return before_object("", 0, start).rpartition("/")[2]
