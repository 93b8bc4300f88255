"""Finds, reads and deletes objects in the archive of raw changes.

The objects of a topic partition form a chain: each object starts at the offset after the end of its predecessor
(`streams.model.archive_chain`). A run reads the objects that contain offsets which Bronze has not landed yet.

Names and metadata are read through Hadoop's file systems, so the archive may be in a local folder or on S3A.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.delta.parquet import last_value
from batch.errors import BatchError
from batch.spark.jvm import java_class
from streams.model.archive_chain import LAST_OFFSET, start_of, walk

SCHEMA: Final = (
    "topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP, key BINARY, value BINARY, "
    "headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
)
_UNREADABLE_FILE: Final = re.compile(r"FAILED_READ_FILE[^]]*\] .*?(?:file|path) (\S+\.parquet)")
"""Spark's error about a file that it cannot read, with the file's path."""

# The prefix that S3A adds to the names of an object's user metadata.
_METADATA: Final = "header."


@dataclass(frozen=True, kw_only=True)
class ArchiveSlice:
    """The objects of a topic's archive that Bronze has not fully landed yet.

    Attributes:
        paths: paths of the objects.
        stored_bytes: total size of the objects.
        first: first offset to read, by partition.
        following: offset after the last record in the objects, by partition.
    """

    paths: tuple[str, ...]
    stored_bytes: int
    first: Mapping[int, int]
    following: Mapping[int, int]

    @property
    def offsets(self) -> int:
        """Number of new offsets, which is an upper bound for the number of new records."""
        return sum(self.following[partition] - first for partition, first in self.first.items())


def find_objects(spark: SparkSession, folder: str, positions: Mapping[int, int]) -> ArchiveSlice:
    """Find a topic's objects that contain offsets at or after `positions`.

    Args:
        folder: the topic's folder in the archive.
        positions: next offset to read, by partition; 0 for partitions without an entry.

    Raises:
        ChainBrokenError: an object is missing from a chain although later objects exist.
    """
    files = Files(spark)
    paths: list[str] = []
    stored_bytes = 0
    first: dict[int, int] = {}
    following: dict[int, int] = {}
    for name in files.lengths(folder):
        if not name.isdecimal():
            continue
        partition, place = int(name), f"{folder}/{name}"
        lengths = files.lengths(place)
        by_start = {start: each for each in lengths if (start := start_of(each)) is not None}
        position = positions.get(partition, 0)
        for piece in walk(by_start, lambda start: files.last_offset(f"{place}/{by_start[start]}"), position=position):  # noqa: B023
            paths.append(f"{place}/{by_start[piece.start]}")
            stored_bytes += lengths[by_start[piece.start]]
            following[partition] = piece.last + 1
            first[partition] = position
    return ArchiveSlice(paths=tuple(paths), stored_bytes=stored_bytes, first=first, following=following)


def read_objects(spark: SparkSession, found: ArchiveSlice) -> DataFrame:
    """Return the records of the found objects, without those below the first offset to read in each partition."""
    records = spark.read.schema(SCHEMA).parquet(*found.paths)
    wanted = F.lit(False)
    for partition, offset in found.first.items():
        wanted |= (F.col("partition") == partition) & (F.col("offset") >= offset)
    return records.where(wanted)


def forget_objects(spark: SparkSession, folder: str, landed: Mapping[int, int], *, before: datetime) -> tuple[int, int]:
    """Delete old objects that Bronze has landed; return the number of deleted objects and their total bytes.

    The newest object of each partition is kept, so that a reader that starts where Bronze stopped finds no gap.

    Args:
        folder: the topic's folder in the archive.
        landed: next offset that Bronze will land, by partition.
        before: delete only objects that were written before this time.
    """
    files = Files(spark)
    count = size = 0
    for partition, position in landed.items():
        place = f"{folder}/{partition:05d}"
        starts = [(start, name) for name in files.lengths(place) if (start := start_of(name)) is not None]
        for (_, name), (following, _) in pairwise(starts):
            length, changed_at = files.status(f"{place}/{name}")
            if following <= position and changed_at < before:
                files.remove(f"{place}/{name}")
                count, size = count + 1, size + length
    return count, size


@contextlib.contextmanager
def damage_reported(table: str) -> Iterator[None]:
    """Convert Spark's error about an object that it cannot read, in the `with` block, to a `BatchError`."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        found = _UNREADABLE_FILE.search(str(error))
        if found is None:
            raise
        cure = "restore it from a backup; until then, `millrace lake reconcile --repair` lands what the source has"
        text = f"the archive's object {found[1]} is damaged: nothing was written; {cure}"
        raise BatchError(text, layer="bronze", table=table) from error


class Files:
    """Lists, inspects and deletes objects at URIs of any scheme that Hadoop supports."""

    def __init__(self, spark: SparkSession) -> None:
        self._path: Any = java_class(spark, "org.apache.hadoop.fs.Path")
        self._configuration = spark._jsparkSession.sessionState().newHadoopConf()

    def lengths(self, folder: str) -> dict[str, int]:
        """Return the bytes of each object in a folder, sorted by name; empty if the folder does not exist."""
        path = self._path(folder)
        try:
            found = path.getFileSystem(self._configuration).listStatus(path)
        except Py4JJavaError as error:
            if error.java_exception.getClass().getName() == "java.io.FileNotFoundException":
                return {}
            raise
        return dict(sorted((str(each.getPath().getName()), int(each.getLen())) for each in found))

    def status(self, object_path: str) -> tuple[int, datetime]:
        """Return an object's size in bytes and its modification time."""
        path = self._path(object_path)
        found = path.getFileSystem(self._configuration).getFileStatus(path)
        return int(found.getLen()), datetime.fromtimestamp(found.getModificationTime() / 1000, UTC)

    def remove(self, object_path: str) -> None:
        """Delete an object."""
        path = self._path(object_path)
        path.getFileSystem(self._configuration).delete(path, False)

    def last_offset(self, object_path: str) -> int:
        """Return the offset of an object's last record."""
        path = self._path(object_path)
        if path.toUri().getScheme() == "file":  # local files have no user metadata
            return int(str(last_value(path.toUri().getPath(), "offset")))
        value = path.getFileSystem(self._configuration).getXAttr(path, f"{_METADATA}{LAST_OFFSET}")
        return int(bytes(value).decode())
