"""Follows the archive of raw changes, and keeps its records as plain Parquet files for other programs.

    {PROCESSED_ROOT}/{raw_records}/{topic}-{partition:05d}-{first:020d}-{last:020d}.parquet

The columns are `topic`, `partition`, `offset`, `timestamp` (UTC), `key` and `value`, the last two as text. A file has
the records of one object of the archive, from the offset after the partition's previous file (`first`) to the object's
last record (`last`), and is written in one request. The names alone say how far a partition has come: a run that was
killed leaves whole files, and the next run goes on after them, so that each record is in one file.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batch.console.output import Say
from batch.errors import BatchError
from batch.storage.chains import objects_from
from batch.storage.objects import ObjectFolder, object_folder
from batch.storage.paths import Lake
from config.settings import ObjectStoreSettings
from streams.model.archive_chain import LAST_OFFSET, ChainBrokenError, walk

SCHEMA: Final = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("key", pa.string()),
        pa.field("value", pa.string()),
    ]
)

_NAME: Final = re.compile(r"(.+)-(\d{5})-(\d{20})-(\d{20})\.parquet")


class Piece(NamedTuple):
    """What a file has: the records of a topic's partition between two offsets, both included."""

    topic: str
    partition: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.topic}-{self.partition:05d}-{self.first:020d}-{self.last:020d}.parquet"

    @classmethod
    def of(cls, name: str) -> Piece | None:
        """Return what the file with this name has; None if it is something else."""
        found = _NAME.fullmatch(name)
        return None if found is None else cls(found[1], int(found[2]), int(found[3]), int(found[4]))


@dataclass(frozen=True, kw_only=True)
class RawRecords:
    """The files with the raw records of one dataset.

    Attributes:
        topics: the topics with the changes of the dataset's tables.
        place: URI of the folder with the files.
        following: the offset after the last record in the files, by topic and partition, which a service keeps.
    """

    topics: Sequence[str]
    lake: Lake
    place: str
    store: ObjectStoreSettings
    say: Say
    following: dict[tuple[str, int], int] = field(default_factory=dict)

    def follow(self) -> None:
        """Write a file for each object of the archive whose records no file has yet.

        Raises:
            BatchError: the object storage cannot be reached, or an object of the archive is missing.
        """
        if not self.following:
            self.following.update(self._listed())
        records = files = 0
        for topic in self.topics:
            for name in self._folder(topic).folders():
                if name.isdecimal():
                    for count in self._follow(topic, int(name)):
                        records, files = records + count, files + 1
        if files:
            self.say(f"  {self.place}: {records:,} records in {files:,} new files")

    def pieces(self) -> list[Piece]:
        """Return what each file has."""
        return [piece for name in self._target.names() if (piece := Piece.of(name)) is not None]

    def read(self, piece: Piece) -> Any:
        """Return the records of a file."""
        return _parquet(self._target.read(piece.name))

    def write(self, piece: Piece, rows: Any) -> None:
        """Write a file, or replace it, in one request."""
        file = io.BytesIO()
        pq.write_table(rows, file, compression="zstd")
        self._target.write(piece.name, file.getvalue())

    def _follow(self, topic: str, partition: int) -> Sequence[int]:
        """Write the new files of a partition, and return the number of records in each."""
        archive = self._folder(topic, partition)
        known = self.following.get((topic, partition))
        names = objects_from(archive, known or 0)
        # Of an archive that is older than the files, `maintain --archive` may have deleted the first objects.
        position = min(names, default=0) if known is None else known
        counts = []
        try:
            for object_ in walk(names, lambda start: _last_offset(archive, names[start]), position=position):
                piece = Piece(topic, partition, position, object_.last)
                rows = as_text(_parquet(archive.read(names[object_.start])), first=position)
                self.write(piece, rows)
                counts.append(rows.num_rows)
                position = self.following[topic, partition] = object_.last + 1
        except ChainBrokenError as error:
            self.following.clear()  # another process may have written what is missing here
            raise BatchError(
                f"{self.place}: the archive of {topic}, partition {partition}, has a gap: {error}"
            ) from None
        return counts

    def _listed(self) -> Mapping[tuple[str, int], int]:
        """Return the offset after the last record in the files, by topic and partition, from their names."""
        found: Counter[tuple[str, int]] = Counter()
        for piece in self.pieces():
            place = (piece.topic, piece.partition)
            found[place] = max(found[place], piece.last + 1)
        return found

    def _folder(self, topic: str, partition: int | None = None) -> ObjectFolder:
        folder = self.lake.changes(topic)
        return object_folder(folder if partition is None else f"{folder}/{partition:05d}", self.store)

    @property
    def _target(self) -> ObjectFolder:
        return object_folder(self.place, self.store)


def as_text(records: pa.Table, *, first: int = 0) -> pa.Table:
    """Return the records of an archive object from the offset `first` on, with keys and values as text.

    Bytes that are no UTF-8 are written as `\\xff`.
    """
    records = records.filter(pc.greater_equal(records["offset"], first))
    columns = {name: records[name] for name in SCHEMA.names}
    for name in ("key", "value"):
        columns[name] = pa.array([_text(each) for each in records[name].to_pylist()], pa.string())
    return pa.table(columns, schema=SCHEMA)


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "backslashreplace")


def _last_offset(archive: ObjectFolder, name: str) -> int:
    noted = archive.metadata(name).get(LAST_OFFSET)
    return int(_parquet(archive.read(name))["offset"][-1].as_py()) if noted is None else int(noted)


def _parquet(content: bytes) -> Any:
    return pq.read_table(io.BytesIO(content))
