"""Removes a person's records from the archive and from the files with raw records (`batch.pipeline.raw_records`).

The archive's records say which ones: the files have the same topics, partitions and offsets. They are changed before
the archive, so that an erasure which was interrupted finds them again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

import pyarrow as pa
from pyspark.sql import SparkSession

from batch.erasure.archive import Archive, OwnRecords, without_before
from batch.erasure.person import Person
from batch.erasure.report import Entry
from batch.pipeline.raw_records import SCHEMA, Piece, RawRecords
from config.settings import ROW_MAX_BYTES, ObjectStoreSettings

_VALUE = SCHEMA.get_field_index("value")


class CopiedArchive(Archive):
    """An archive whose records are also in files with raw records."""

    def __init__(
        self,
        spark: SparkSession,
        folder: str,
        store: ObjectStoreSettings,
        files: RawFiles,
        *,
        max_bytes: int = ROW_MAX_BYTES,
    ) -> None:
        super().__init__(spark, folder, store, max_bytes=max_bytes)
        self._files = files

    def find(self, person: Person, known: Collection[str] = ()) -> OwnRecords:
        """Find the person's records, and remember them for the files."""
        found = super().find(person, known)
        self._files.add(found)
        return found

    def erase(self, found: OwnRecords) -> None:
        """Remove the person's data from the files, then from the archive."""
        self._files.erase()
        super().erase(found)

    def entries(self, found: OwnRecords) -> list[Entry]:
        """Return report entries for the found records, and for those in the files."""
        count = self._files.count()
        return [*super().entries(found), Entry(place="raw records", found=count, left=count)]


@dataclass(kw_only=True)
class RawFiles:
    """The files with raw records of one topic, as far as they have records of a person.

    Attributes:
        topic: the topic of the person's table.
    """

    raw: RawRecords
    topic: str
    _own: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set), init=False)
    _former: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set), init=False)

    def add(self, found: OwnRecords) -> None:
        """Look for these records, too: those of rows of the person, and those of former ones."""
        for places, wanted in ((found.offsets, self._own), (found.former, self._former)):
            for path, offsets in places.items():
                wanted[int(path.split("/")[-2])] |= offsets

    def count(self) -> int:
        """Count the records that still have data of the person."""
        return sum(len(self._changed(piece)[0]) for piece in self._concerned())

    def erase(self) -> None:
        """Set the values of the person's records to NULL, and remove the row before the change from former ones."""
        for piece in self._concerned():
            changed, rows = self._changed(piece)
            if changed:
                values = [changed.get(at, value) for at, value in enumerate(rows["value"].to_pylist())]
                self.raw.write(piece, rows.set_column(_VALUE, SCHEMA.field(_VALUE), pa.array(values, pa.string())))

    def _concerned(self) -> list[Piece]:
        def has_any(piece: Piece) -> bool:
            wanted = self._own[piece.partition] | self._former[piece.partition]
            return any(piece.first <= offset <= piece.last for offset in wanted)

        return [piece for piece in self.raw.pieces() if piece.topic == self.topic and has_any(piece)]

    def _changed(self, piece: Piece) -> tuple[dict[int, str | None], pa.Table]:
        """Return the new values of the rows with data of the person, by the row's number, and all rows."""
        rows = self.raw.read(piece)
        own, former = self._own[piece.partition], self._former[piece.partition]
        changed: dict[int, str | None] = {}
        for at, (offset, value) in enumerate(zip(rows["offset"].to_pylist(), rows["value"].to_pylist(), strict=True)):
            if value is None:
                continue
            if offset in own:
                changed[at] = None
            elif offset in former and (less := _without_before(value)) != value:
                changed[at] = less
        return changed, rows


def _without_before(value: str) -> str:
    return (without_before(value.encode()) or b"").decode()
