"""Reads and writes small numbers of rows of a Delta table in-process with delta-rs instead of Spark.

Spark needs about twenty jobs to commit or look up even a single row. Both Spark and delta-rs create the log entry of a
version only if it does not exist yet (If-None-Match), so they cannot overwrite each other's commits.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyspark.sql.types import StructType

from batch.delta.writer import WRITER, Writer, writer_of

NEVER: Final = "false"
"""The SQL condition that is never true; as `insert_when`, it makes a merge insert no rows."""

_KEPT_UP: Final = frozenset({"appendOnly", "invariants", "changeDataFeed"})
"""Writer features of Delta that delta-rs supports; tables with any other writer feature are left to Spark."""

_READABLE: Final = frozenset({"timestampNtz"})
"""Reader features of Delta that delta-rs supports; tables with deletion vectors are left to Spark."""

_CHECKPOINT_EVERY: Final = 10
"""Number of versions between two checkpoints, as in Spark."""

_NOTHING_AFTERWARDS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_PARQUET: Final = WriterProperties(compression="ZSTD")


class DeltaRsError(DeltaError):
    """An error of delta-rs on a table that it should be able to read and write.

    Attributes:
        is_gone: whether the cause is a file or table version that no longer exists.
    """

    def __init__(self, action: str, location: str, cause: Exception) -> None:
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        cure = "run again; if it fails again, set the table property millrace.writer to 'spark-only'"
        super().__init__(f"delta-rs could not {action} {location}: {reason}; {cure}")
        self.is_gone = isinstance(cause, FileNotFoundError) or "not found" in str(cause).lower()


@contextlib.contextmanager
def named_errors(action: str, location: str) -> Iterator[None]:
    """Convert errors raised by delta-rs inside the block to `DeltaRsError`, except conflicts and missing tables."""
    try:
        yield
    except (CommitFailedError, TableNotFoundError, DeltaRsError):
        raise
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise DeltaRsError(action, location, error) from error


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Conditions for merging rows `s` into a table `t`, in SQL that both DataFusion (in delta-rs) and Spark accept.

    `LakeTable.merge` describes each condition.
    """

    on: str
    set_when: str | None
    insert_when: str | None
    delete_when: str | None


class DeltaRsTable:
    """A Delta table at one version, which delta-rs reads and to which it can commit the next version."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    @property
    def schema(self) -> StructType:
        """The table's columns with their Spark types."""
        return StructType.fromJson(json.loads(self._table.schema().to_json()))

    def go_on(self) -> None:
        """Update this object to the table's newest version, reading only the new log entries."""
        self._table.update_incremental()

    def version(self) -> int:
        """Return the table version that this object currently represents."""
        return self._table.version()

    def property(self, name: str) -> str | None:
        """Return the value of a table property; None if it is not set."""
        return self._table.metadata().configuration.get(name)

    def is_readable(self) -> bool:
        """Whether delta-rs supports all features that the table requires of readers."""
        return not self.unreadable_features()

    def unreadable_features(self) -> list[str]:
        """Return the features that the table requires of readers and delta-rs lacks."""
        return sorted({*(self._table.protocol().reader_features or ())} - _READABLE)

    def writer(self) -> Writer:
        """Return the engine to use for appends and merges of rows that the driver holds."""
        return writer_of(self.property(WRITER), is_kept_up=self.is_kept_up(), table_bytes=self.data_files()[1])

    def is_kept_up(self) -> bool:
        """Whether delta-rs supports all features that the table requires of writers."""
        return {*(self._table.protocol().writer_features or ())} <= _KEPT_UP

    def has_columns(self, schema: StructType, *, or_fewer: bool) -> bool:
        """Whether the table's columns equal those of `schema` in name and type, or with `or_fewer` are among them."""
        own = {field.name: field.dataType for field in self.schema}
        given = {field.name: field.dataType for field in schema}
        return own.items() <= given.items() if or_fewer else own == given

    def data_files(self) -> tuple[int, int]:
        """Return the number of data files and their total size in bytes."""
        files = self._files()
        return files.num_rows, pc.sum(files["size_bytes"]).as_py() or 0

    def number(self, app: str) -> int:
        """Return the newest transaction number recorded for an application id; -1 if there is none."""
        found = self._table.transaction_version(app)
        return -1 if found is None else int(found)

    def rows(
        self, among: Mapping[str, pa.ChunkedArray], *, columns: Sequence[str], where: str | None, most: int
    ) -> pa.Table | None:
        """Return the rows whose value in each column of `among` is one of those listed, of which NULL may be one.

        Return None if there are more than `most` such rows, or if the listed values do not have their column's type.

        Args:
            among: accepted values, by column.
            columns: columns to return.
            where: further condition, in SQL that both DataFusion and Spark accept.

        Raises:
            DeltaRsError: delta-rs could not read the rows.
        """
        if not among and where is None and self._count() > most:
            return None
        types = {field.name: _plain(field.type) for field in pa.schema(self._table.schema().to_arrow())}
        if not all(_is_among(types[name], values.type) for name, values in among.items()):
            return None
        wanted = {name: values.combine_chunks() for name, values in among.items()}
        read = list(dict.fromkeys([*columns, *among]))
        schema = pa.schema([(name, types[name]) for name in read])
        found, count = [], 0
        with named_errors("read", self._table.table_uri):
            for batch in pa.RecordBatchReader.from_stream(self._table.scan(columns=read, predicate=where)):
                rows = pa.Table.from_batches([batch]).cast(schema)
                for name, values in wanted.items():
                    rows = rows.filter(pc.is_in(rows[name].cast(values.type), value_set=values))
                count += rows.num_rows
                if count > most:
                    return None
                found.append(rows)
        return pa.concat_tables([schema.empty_table(), *found]).select(list(columns))

    def changes(self, first: int, last: int, *, most: int) -> pa.Table | None:
        """Return the change data feed of versions `first` to `last`; None if the feed has more than `most` rows.

        The result has the table's columns and `_change_type`.

        Raises:
            DeltaRsError: delta-rs could not read the feed.
        """
        columns = [*(field.name for field in self._table.schema().fields), "_change_type"]
        found, count = [], 0
        with named_errors("read the changes of", self._table.table_uri):
            # Read all columns: `load_cdf` parses column names as SQL, which converts them to lower case.
            stream = self._table.load_cdf(starting_version=first, ending_version=last)
            reader = pa.RecordBatchReader.from_stream(stream)
            schema = pa.schema([(field.name, _plain(field.type)) for field in reader.schema])
            for batch in reader:
                count += batch.num_rows
                if count > most:
                    return None
                found.append(pa.Table.from_batches([batch]).cast(schema))
        return pa.concat_tables([schema.empty_table(), *found]).select(columns)

    def append(self, rows: pa.Table, commit: CommitProperties) -> None:
        """Append rows that have the table's columns; if `rows` is empty, only commit the properties."""
        write_deltalake(
            self._table,
            rows,
            mode="append",
            writer_properties=_PARQUET,
            commit_properties=commit,
            post_commithook_properties=_NOTHING_AFTERWARDS,
        )
        self._keep_log_short()

    def merge(
        self,
        rows: pa.Table,
        commit: CommitProperties,
        asked: Merge,
    ) -> None:
        """Merge rows into the table; columns that the table lacks are used in conditions but not written."""
        own = {field.name for field in self._table.schema().fields}
        others = [name for name in rows.column_names if name not in own]
        merge = self._table.merge(
            rows,
            predicate=asked.on,
            source_alias="s",
            target_alias="t",
            writer_properties=_PARQUET,
            commit_properties=commit,
            post_commithook_properties=_NOTHING_AFTERWARDS,
        )
        if asked.delete_when is not None:
            merge = merge.when_matched_delete(predicate=asked.delete_when)
        if asked.set_when is not None:
            merge = merge.when_matched_update_all(predicate=asked.set_when, except_cols=others)
        if asked.insert_when != NEVER:
            merge = merge.when_not_matched_insert_all(predicate=asked.insert_when, except_cols=others)
        before = self._table.version()
        merge.execute()
        if self._table.version() == before:  # nothing differed, but the progress must be stored nevertheless
            names = [name for name in rows.column_names if name in own]
            self.append(rows.select(names).slice(0, 0), commit)
        else:
            self._keep_log_short()

    def _count(self) -> int:
        """Return the number of rows according to the log, including rows in deletion vectors."""
        return pc.sum(self._files()["num_records"]).as_py() or 0

    def _files(self) -> pa.Table:
        return pa.table(self._table.get_add_actions(flatten=True))

    def _keep_log_short(self) -> None:
        if self._table.version() % _CHECKPOINT_EVERY == 0:
            self._table.create_checkpoint()
            self._table.cleanup_metadata()


def commit_properties(note: str, app: str, number: int) -> CommitProperties:
    """Return commit properties that store the note and the transaction number.

    The properties also disable delta-rs's own retries: after a conflict, the rows are based on an outdated version.
    """
    transaction = Transaction(app, number)
    return CommitProperties(
        custom_metadata={"userMetadata": note}, max_commit_retries=0, app_transactions=[transaction]
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    if kind == pa.string_view() or kind == pa.large_string():
        return pa.string()
    return pa.binary() if kind == pa.binary_view() else kind


def _is_among(kind: pa.DataType, others: pa.DataType) -> bool:
    """Whether every value of type `kind` is also a value of type `others`."""
    if pa.types.is_signed_integer(kind) and pa.types.is_signed_integer(others):
        return bool(kind.bit_width <= others.bit_width)
    return bool(kind == others)
