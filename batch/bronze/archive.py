"""The objects of the archive that a run reads: those that hold the offsets after its progress.

Names and metadata come through Hadoop's file systems, so an archive in a local folder is read as one on S3A is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.delta.parquet import last_value
from batch.spark.jvm import java_class
from streams.model.archive_chain import LAST_OFFSET, start_of, walk

SCHEMA: Final = (
    "topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP, key BINARY, value BINARY, "
    "headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
)
# What S3A puts before the names of an object's own metadata.
_METADATA: Final = "header."


@dataclass(frozen=True, kw_only=True)
class ArchiveSlice:
    """The new part of a topic's archive: its objects, and for each partition the first and the next offset."""

    paths: tuple[str, ...]
    first: Mapping[int, int]
    following: Mapping[int, int]

    @property
    def offsets(self) -> int:
        """How many there are from the first ones on: at least as many as records."""
        return sum(self.following[partition] - first for partition, first in self.first.items())


def find_objects(spark: SparkSession, folder: str, positions: Mapping[int, int]) -> ArchiveSlice:
    """The objects of a topic (its `folder`) that hold offsets from `positions` (by partition) on.

    Raises:
        ChainBrokenError: an object is missing between others.
    """
    files = Files(spark)
    paths: list[str] = []
    first: dict[int, int] = {}
    following: dict[int, int] = {}
    for name in files.names(folder):
        if not name.isdecimal():
            continue
        partition, place = int(name), f"{folder}/{name}"
        by_start = {start: each for each in files.names(place) if (start := start_of(each)) is not None}
        position = positions.get(partition, 0)
        for piece in walk(by_start, lambda start: files.last_offset(f"{place}/{by_start[start]}"), position=position):  # noqa: B023
            paths.append(f"{place}/{by_start[piece.start]}")
            following[partition] = piece.last + 1
            first[partition] = position
    return ArchiveSlice(paths=tuple(paths), first=first, following=following)


def read_objects(spark: SparkSession, found: ArchiveSlice) -> DataFrame:
    """The records of the objects that were not read before."""
    records = spark.read.schema(SCHEMA).parquet(*found.paths)
    wanted = F.lit(False)
    for partition, offset in found.first.items():
        wanted |= (F.col("partition") == partition) & (F.col("offset") >= offset)
    return records.where(wanted)


def forget_objects(spark: SparkSession, folder: str, landed: Mapping[int, int], *, before: datetime) -> tuple[int, int]:
    """Delete objects of a topic's archive that are older than a time and that Bronze has landed; how many, and bytes.

    The newest object of a partition stays, and so do objects that begin at or after the offset that is `landed` next: a
    reader that continues from there finds a whole chain.
    """
    files = Files(spark)
    count = size = 0
    for partition, position in landed.items():
        place = f"{folder}/{partition:05d}"
        starts = [(start, name) for name in files.names(place) if (start := start_of(name)) is not None]
        for (_, name), (following, _) in pairwise(starts):
            length, changed_at = files.status(f"{place}/{name}")
            if following <= position and changed_at < before:
                files.remove(f"{place}/{name}")
                count, size = count + 1, size + length
    return count, size


class Files:
    """Folders and objects behind any scheme that Hadoop knows."""

    def __init__(self, spark: SparkSession) -> None:
        self._path: Any = java_class(spark, "org.apache.hadoop.fs.Path")
        self._configuration = spark._jsparkSession.sessionState().newHadoopConf()

    def names(self, folder: str) -> list[str]:
        """Names in a folder, in their order; none if there is no such folder."""
        path = self._path(folder)
        try:
            found = path.getFileSystem(self._configuration).listStatus(path)
        except Py4JJavaError as error:
            if error.java_exception.getClass().getName() == "java.io.FileNotFoundException":
                return []
            raise
        return sorted(str(each.getPath().getName()) for each in found)

    def status(self, object_path: str) -> tuple[int, datetime]:
        """Bytes of an object, and when it was put."""
        path = self._path(object_path)
        found = path.getFileSystem(self._configuration).getFileStatus(path)
        return int(found.getLen()), datetime.fromtimestamp(found.getModificationTime() / 1000, UTC)

    def remove(self, object_path: str) -> None:
        """Delete an object."""
        path = self._path(object_path)
        path.getFileSystem(self._configuration).delete(path, False)

    def last_offset(self, object_path: str) -> int:
        """Offset of an object's last record."""
        path = self._path(object_path)
        if path.toUri().getScheme() == "file":  # a file has no metadata
            return int(str(last_value(path.toUri().getPath(), "offset")))
        value = path.getFileSystem(self._configuration).getXAttr(path, f"{_METADATA}{LAST_OFFSET}")
        return int(bytes(value).decode())
