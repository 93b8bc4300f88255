"""Load a CSV file into a table; save rejected rows to a file, each with its line number and the reason.

The file is UTF-8 with a header line; columns may be in any order. An empty field and `\\N` mean NULL. Times without
an offset are in UTC.
"""

from __future__ import annotations

import codecs
import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.definition import Table
from config.engines.base import Connection
from ops.dataset.bulk import BulkWriter, OnDuplicate, RejectedRow, Row
from ops.dataset.values import Literal, column_parser, fault
from stack.errors import StackError

EXAMPLES = 20
PROGRESS_ROWS = 250_000
_READ_BYTES = 1 << 20


@dataclass(kw_only=True)
class Outcome:
    """Result of a load: row counts, the first rejected rows, and the file with all of them (None if there are none)."""

    read: int = 0
    loaded: int = 0
    skipped: int = 0
    rejected: int = 0
    examples: list[RejectedRow]
    rejected_file: Path | None = None

    def __str__(self) -> str:
        skipped = f", skipped {self.skipped:,}" if self.skipped else ""
        aside = f" (see {self.rejected_file})" if self.rejected_file else ""
        return f"read {self.read:,}, loaded {self.loaded:,}{skipped}, rejected {self.rejected:,}{aside}"


def load_file(
    connection: Connection,
    table: Table,
    path: Path,
    *,
    on_duplicate: OnDuplicate = OnDuplicate.FAIL,
    delimiter: str = ",",
    rejected_to: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Load `path` into `table`; write rejected rows to `<name>.rejected.csv`, with line and reason.

    Args:
        rejected_to: folder for the rejected rows; None: the folder of the file.

    Raises:
        StackError: the file can't be read, is not UTF-8, or its header does not match the table; nothing was loaded.
    """
    try:
        _require_utf8(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            literal = connection.engine.literal
            source = _Source(file, path, delimiter, table, literal)
            rejections = _Rejections(source, rejected_path(path, rejected_to))
            return _load(connection, table, source, rejections, on_duplicate, report)
    except OSError as error:
        raise StackError(f"{error.filename or path}: {error.strerror}") from error


def rejected_path(path: Path, folder: Path | None = None) -> Path:
    """Return the path of the file for the rejected rows of `path`, in a folder or beside it."""
    return (folder or path.parent) / f"{path.stem}.rejected.csv"


class _Source:
    """A CSV file, read as rows that either match the table's columns or are rejected."""

    def __init__(self, file: Any, path: Path, delimiter: str, table: Table, literal: Literal) -> None:
        csv.field_size_limit(sys.maxsize)
        self.path = path
        self.read = 0
        self._literal = literal
        self._reader = csv.reader(file, delimiter=delimiter, strict=True)
        self.header = self._read_header(table)
        columns = {column.name: column for column in table.columns}
        self._columns = [columns[name] for name in self.header]

    def _read_header(self, table: Table) -> list[str]:
        try:
            header = [name.strip() for name in next(self._reader, [])]
        except csv.Error as error:
            raise StackError(f"{self.path}: line 1: {error}") from error
        if not header:
            raise StackError(f"{self.path}: line 1: has no header; expected {','.join(table.column_names)}")
        faults = {
            "unknown column": [name for name in header if name not in table.column_names],
            "missing column": [name for name in table.column_names if name not in header],
            "repeated column": sorted({name for name in header if header.count(name) > 1}),
        }
        found = "; ".join(f"{what} {', '.join(map(repr, names))}" for what, names in faults.items() if names)
        if found:
            raise StackError(f"{self.path}: line 1: {found} (table {table.name} has {', '.join(table.column_names)})")
        return header

    def rows(self) -> Iterator[Row | RejectedRow]:
        """Yield each record of the file with the line on which it begins; skip blank lines."""
        reader, width = self._reader, len(self._columns)
        parsers = [column_parser(column, self._literal) for column in self._columns]
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                self.read += 1
                yield RejectedRow(line, (), f"is not valid CSV: {error}")
                continue
            if fields is None:
                return
            if not fields:
                continue
            self.read += 1
            if len(fields) != width:
                yield RejectedRow(line, fields, f"has {len(fields)} fields, expected {width}")
                continue
            try:
                yield Row(line, fields, ",".join([parse(text) for parse, text in zip(parsers, fields, strict=True)]))
            except ValueError:
                yield RejectedRow(line, fields, self._reasons(fields))

    def _reasons(self, fields: list[str]) -> str:
        found = [fault(column, text, self._literal) for column, text in zip(self._columns, fields, strict=True)]
        return "; ".join(reason for reason in found if reason)


def _load(
    connection: Connection,
    table: Table,
    source: _Source,
    rejections: _Rejections,
    on_duplicate: OnDuplicate,
    report: Callable[[str], None],
) -> Outcome:
    writer = BulkWriter(connection=connection, table=table, columns=source.header, on_duplicate=on_duplicate)
    with rejections:
        with writer:
            for row in source.rows():
                if isinstance(row, Row):
                    writer.add(row)
                else:
                    rejections.add(row)
                if writer.rejected:
                    rejections.take(writer.rejected)
                if source.read % PROGRESS_ROWS == 0:
                    report(f"{table.name}: {source.read:,} rows read")
        rejections.take(writer.rejected)
    return Outcome(
        read=source.read,
        loaded=writer.written,
        skipped=writer.skipped,
        rejected=rejections.count,
        examples=rejections.examples,
        rejected_file=rejections.path if rejections.count else None,
    )


class _Rejections:
    """A writer of rejected rows to a file next to the source file; the first rejected row creates the file."""

    def __init__(self, source: _Source, path: Path) -> None:
        self.path = path
        self.count = 0
        self.examples: list[RejectedRow] = []
        self._header = source.header
        self._writer: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> _Rejections:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self, rejected: list[RejectedRow]) -> None:
        for row in rejected:
            self.add(row)
        rejected.clear()

    def add(self, row: RejectedRow) -> None:
        if self._writer is None:
            file = self._stack.enter_context(self.path.open("w", encoding="utf-8", newline=""))
            self._writer = csv.writer(file, lineterminator="\n")
            self._writer.writerow(["line", "reason", *self._header])
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(row)
        self._writer.writerow([row.line, row.reason, *row.fields])


def _require_utf8(path: Path) -> None:
    """Read the whole file once, so that a wrong encoding is reported before the first row is written."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                lines += error.object[: error.start].count(b"\n")
                raise StackError(f"{path}: line {lines + 1}: is not UTF-8 ({error.reason})") from None
            lines += block.count(b"\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise StackError(f"{path}: line {lines + 1}: is not UTF-8 ({error.reason})") from None
