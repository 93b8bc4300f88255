"""Few rows, written to a Delta table and read from it in this process by delta-rs, without Spark.

What Spark does to commit or to look up rows costs some twenty jobs, however few they are. Both writers put a commit
only where there is none yet (If-None-Match), so neither can hide what the other one wrote.
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
"""A condition that does not hold."""

_KEPT_UP: Final = frozenset({"appendOnly", "invariants", "changeDataFeed"})
"""Features of a table that these writes keep up."""

_READABLE: Final = frozenset({"timestampNtz"})
"""Features that these reads know. Deletion vectors are for Spark: only tables of its own have them."""

_CHECKPOINT_EVERY: Final = 10
"""Versions, as Spark does it."""

_NOTHING_AFTERWARDS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_PARQUET: Final = WriterProperties(compression="ZSTD")


class DeltaRsError(DeltaError):
    """delta-rs failed at a table that it should be able to read and write.

    Attributes:
        is_gone: a file or a version is not there any more.
    """

    def __init__(self, action: str, location: str, cause: Exception) -> None:
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        cure = "run again; if it fails again, set the table property millrace.writer to 'spark-only'"
        super().__init__(f"delta-rs could not {action} {location}: {reason}; {cure}")
        self.is_gone = isinstance(cause, FileNotFoundError) or "not found" in str(cause).lower()


@contextlib.contextmanager
def named_errors(action: str, location: str) -> Iterator[None]:
    """Raise what delta-rs reports in here as a `DeltaRsError`; a commit that another one has overtaken stays one."""
    try:
        yield
    except (CommitFailedError, TableNotFoundError, DeltaRsError):
        raise
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise DeltaRsError(action, location, error) from error


@dataclass(frozen=True, kw_only=True)
class Merge:
    """How rows `s` are merged into a table `t`, in SQL that DataFusion and Spark both know: see `LakeTable.merge`."""

    on: str
    set_when: str | None
    insert_when: str | None
    delete_when: str | None


class DeltaRsTable:
    """A version of a Delta table."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    @property
    def schema(self) -> StructType:
        """The columns, for Spark."""
        return StructType.fromJson(json.loads(self._table.schema().to_json()))

    def go_on(self) -> None:
        """Be the newest version from now on: only what is new in the log is read."""
        self._table.update_incremental()

    def version(self) -> int:
        """Which version it is."""
        return self._table.version()

    def property(self, name: str) -> str | None:
        """A property of the table; None if it has none of this name."""
        return self._table.metadata().configuration.get(name)

    def is_readable(self) -> bool:
        """Whether delta-rs knows all features that a reader of the table needs."""
        return {*(self._table.protocol().reader_features or ())} <= _READABLE

    def writer(self) -> Writer:
        """The engine that commits appends and merges of rows that the driver holds."""
        return writer_of(self.property(WRITER), is_kept_up=self.is_kept_up(), table_bytes=self.data_files()[1])

    def is_kept_up(self) -> bool:
        """Whether delta-rs keeps up all features of the table when it writes."""
        return {*(self._table.protocol().writer_features or ())} <= _KEPT_UP

    def has_columns(self, schema: StructType, *, or_fewer: bool) -> bool:
        """Whether these are the table's columns, by name and type; with `or_fewer` the table may lack some of them."""
        own = {field.name: field.dataType for field in self.schema}
        given = {field.name: field.dataType for field in schema}
        return own.items() <= given.items() if or_fewer else own == given

    def data_files(self) -> tuple[int, int]:
        """How many data files there are, and their bytes."""
        files = self._files()
        return files.num_rows, pc.sum(files["size_bytes"]).as_py() or 0

    def number(self, app: str) -> int:
        """The last transaction of an application; -1 if it has none."""
        found = self._table.transaction_version(app)
        return -1 if found is None else int(found)

    def rows(
        self, among: Mapping[str, pa.ChunkedArray], *, columns: Sequence[str], where: str | None, most: int
    ) -> pa.Table | None:
        """The rows whose columns each have one of the values of `among`; None if they are more than `most`, or if the
        values are of another type.

        Args:
            where: what else has to hold, in SQL that DataFusion and Spark both know.

        Raises:
            DeltaRsError: delta-rs could not read them.
        """
        if not among and where is None and self._count() > most:
            return None
        types = {field.name: _plain(field.type) for field in pa.schema(self._table.schema().to_arrow())}
        if not all(_is_among(types[name], values.type) for name, values in among.items()):
            return None
        wanted = {name: values.combine_chunks().drop_null() for name, values in among.items()}
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
        """The change data feed of these versions; None if it has more than `most` rows.

        The columns are those of the table, and `_change_type`.

        Raises:
            DeltaRsError: delta-rs could not read it.
        """
        columns = [*(field.name for field in self._table.schema().fields), "_change_type"]
        found, count = [], 0
        with named_errors("read the changes of", self._table.table_uri):
            # All columns: names given to `load_cdf` are read as SQL, where capitals are lost.
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
        """Add rows, which have the table's columns; none, to leave a note."""
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
        """Merge rows; columns that the table lacks are for the conditions only."""
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
        if self._table.version() == before:  # nothing differed, and the progress has to be there all the same
            names = [name for name in rows.column_names if name in own]
            self.append(rows.select(names).slice(0, 0), commit)
        else:
            self._keep_log_short()

    def _count(self) -> int:
        """How many rows there are, as far as the log says it of their files; deleted ones that are only marked too."""
        return pc.sum(self._files()["num_records"]).as_py() or 0

    def _files(self) -> pa.Table:
        return pa.table(self._table.get_add_actions(flatten=True))

    def _keep_log_short(self) -> None:
        if self._table.version() % _CHECKPOINT_EVERY == 0:
            self._table.create_checkpoint()
            self._table.cleanup_metadata()


def commit_properties(note: str, app: str, number: int) -> CommitProperties:
    """What a commit carries. One that meets another is not tried again here: what it was made from is out of date."""
    transaction = Transaction(app, number)
    return CommitProperties(
        custom_metadata={"userMetadata": note}, max_commit_retries=0, app_transactions=[transaction]
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    if kind == pa.string_view() or kind == pa.large_string():
        return pa.string()
    return pa.binary() if kind == pa.binary_view() else kind


def _is_among(kind: pa.DataType, others: pa.DataType) -> bool:
    """Whether every value of the type is one of the other type."""
    if pa.types.is_signed_integer(kind) and pa.types.is_signed_integer(others):
        return bool(kind.bit_width <= others.bit_width)
    return bool(kind == others)
