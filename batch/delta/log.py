"""Reads versions, files and commit information from a Delta table's log, without Spark jobs.

`DeltaTable.history()` returns the same information, but runs a Spark job over all commits; this module needs only one
small read per commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from batch.spark.jvm import java_class

NO_TABLE = -1
TYPE_WIDENING = "delta.enableTypeWidening"
"""The table property that allows wider types for columns (`batch.delta.widening`)."""


@dataclass(frozen=True, kw_only=True)
class DataFiles:
    """The number of data files in a table version, and their total size in bytes."""

    count: int
    size: int


class DeltaLog:
    """The log of the Delta table at `path`; every method reads the log's current state."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        self._spark = spark
        self._path = path

    @cached_property
    def location(self) -> str:
        """The table's path as Hadoop formats it, which is needed because Delta compares paths as text."""
        return str(self._place(self._path).toString())

    def version(self) -> int:
        """Return the table's newest version; `NO_TABLE` if the table does not exist."""
        return int(self._snapshot().version())

    def property(self, name: str) -> str | None:
        """Return the value of a table property; None if it is not set."""
        found = self._snapshot().metadata().configuration().get(name)
        return str(found.get()) if found.isDefined() else None

    def data_files(self) -> tuple[int, int]:
        """Return the number and total bytes of the newest version's data files; this may run a Spark job."""
        snapshot = self._snapshot()
        return int(snapshot.numOfFiles()), int(snapshot.sizeInBytes())

    def commit_info(self, version: int) -> dict[str, Any] | None:
        """Return the `commitInfo` action of a version; None if the log no longer contains the version."""
        for action in self._actions(version):
            if "commitInfo" in action:
                return dict(action["commitInfo"])
        return None

    def has_changes_of(self, version: int) -> bool:
        """Whether a version's log entry and all files that contain the version's changes still exist."""
        by_kind: dict[str, list[str]] = {"cdc": [], "add": [], "remove": []}
        is_there = False
        for action in self._actions(version):
            is_there = True
            for kind, files in by_kind.items():
                if kind in action and action[kind].get("dataChange", True) | (kind == "cdc"):
                    files.append(action[kind]["path"])
        files = by_kind["cdc"] or by_kind["add"] + by_kind["remove"]
        return is_there and all(self._exists(file) for file in files)

    def last_without_changes(self, version: int, newest: int) -> int:
        """Return the last of the versions from `version` on up to which no commit has changed any rows."""
        while version < newest and not any({"add", "remove", "cdc"} & {*each} for each in self._actions(version + 1)):
            version += 1
        return version

    def is_retyped(self, version: int, newest: int, schema: Callable[[], StructType]) -> bool:
        """Whether a column that `version` has got another type up to `newest`; `schema` returns that version's."""
        actions = (action for each in range(version + 1, newest + 1) for action in self._actions(each))
        later = [action["metaData"]["schemaString"] for action in actions if "metaData" in action]
        if not later:
            return False
        types = {field.name: field.dataType for field in schema()}
        fields = [field for text in later for field in StructType.fromJson(json.loads(text))]
        return any(types.get(field.name, field.dataType) != field.dataType for field in fields)

    def stored_bytes(self) -> int:
        """Return the total bytes of all files in the table's folder."""
        path = self._place(self._path)
        return int(self._files(path).getContentSummary(path).getLength())

    def stored_files(self) -> list[str]:
        """Return the paths of all Parquet files in the table's folder, including those of older versions."""
        found, listed = [], self._files(path := self._place(self._path)).listFiles(path, True)
        while listed.hasNext():
            name = str(listed.next().getPath().toString())
            if name.endswith(".parquet") and "/_delta_log/" not in name:
                found.append(name)
        return found

    def past_files(self) -> list[str]:
        """Return the paths of the files that older versions name in the log and the newest version does not need."""
        folder = self._place(f"{self._path}/_delta_log")
        names = [str(status.getPath().getName()) for status in self._files(folder).listStatus(folder)]
        versions = [int(name[:20]) for name in names if name.endswith(".json") and name[:-5].isdecimal()]
        actions = (action for version in versions for action in self._actions(version))
        named = {unquote(each["path"]) for action in actions for each in action.values() if "path" in each}
        files = DataFrame(self._snapshot().allFiles().toDF(), self._spark).select("path").collect()
        past = named - {unquote(row["path"]) for row in files}  # in the log, paths are encoded and relative
        start = len(self.location) + 1
        return [file for file in self.stored_files() if file[start:] in past]

    def delete(self, files: Iterable[str]) -> None:
        """Delete files, given by their paths."""
        for file in files:
            path = self._place(file)
            self._files(path).delete(path, False)

    def forget_past(self) -> None:
        """Write a checkpoint of the newest version, and delete the log entries of all earlier versions.

        Earlier log entries contain the minimum and maximum column values of each file, among them values of deleted
        rows. The log entry of the newest version is kept.
        """
        snapshot = self._snapshot()
        log = snapshot.deltaLog()
        log.checkpoint(snapshot, self._java("scala.Option").empty())
        folder = self._place(f"{self._path}/_delta_log")
        files = self._files(folder)
        for status in files.listStatus(folder):
            path = status.getPath()
            number = str(path.getName())[:20]
            if number.isdecimal() and int(number) < int(snapshot.version()):
                files.delete(path, False)

    def _snapshot(self) -> Any:
        log = self._java("org.apache.spark.sql.delta.DeltaLog").forTable(self._spark._jsparkSession, self._path)
        none = self._java("scala.Option").empty()
        return log.update(False, none, none)

    def _actions(self, version: int) -> Iterator[dict[str, Any]]:
        path = self._place(f"{self._path}/_delta_log/{version:020d}.json")
        try:
            stream = self._files(path).open(path)
        except Py4JJavaError as error:
            if error.java_exception.getClass().getName() == "java.io.FileNotFoundException":
                return
            raise
        reader = self._java("java.io.BufferedReader")(self._java("java.io.InputStreamReader")(stream, "UTF-8"))
        try:
            while (line := reader.readLine()) is not None:
                yield json.loads(line)
        finally:
            reader.close()

    def _exists(self, file: str) -> bool:
        # Paths in the log are URIs, relative to the table's folder unless they have a scheme.
        uri = self._java("java.net.URI")(file)
        path = self._place(uri) if uri.isAbsolute() else self._place(self._place(self._path), self._place(uri))
        return bool(self._files(path).exists(path))

    def _files(self, path: Any) -> Any:
        return path.getFileSystem(self._spark._jsparkSession.sessionState().newHadoopConf())

    def _place(self, *parts: Any) -> Any:
        return self._java("org.apache.hadoop.fs.Path")(*parts)

    def _java(self, name: str) -> Any:
        return java_class(self._spark, name)
