"""Exports the rows of a table to files: a part for each data file of the lake's table at its published version, or for
each range of the key of a source table (`batch.pipeline.source_export`).

    {folder}/part-00000.{parquet|csv|json}    the rows of a data file or range, as far as the condition selects them
    {folder}/_export.json                     what is exported, and the finished parts with their rows and checksums
    {folder}/_SUCCESS                         the same, once all parts are there

A part is written in one request, and `_export.json` before the first part and after each: an export that was
interrupted goes on at the next part.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from batch.console.output import Say
from batch.errors import BatchError
from batch.storage.objects import ObjectFolder

FORMATS: Final = ("parquet", "csv", "json")
STATE: Final = "_export.json"
SUCCESS: Final = "_SUCCESS"


class Part(msgspec.Struct, kw_only=True):
    """A finished part."""

    name: str
    rows: int
    sha256: str


class Request(msgspec.Struct, kw_only=True, frozen=True):
    """What is exported: another request can't go on with the parts of this one.

    Attributes:
        mark: table and version (`batch.delta.published.PublishedTable.mark`); of a source, the word `source`.
    """

    table: str
    mark: str
    columns: list[str]
    where: str
    format: str


class State(msgspec.Struct, kw_only=True):
    """How far an export has come.

    Attributes:
        ranges: keys at which the parts of a source table end.
    """

    request: Request
    ranges: list[list[str]] = []
    done: list[Part] = []

    @property
    def rows(self) -> int:
        """Number of rows in the finished parts."""
        return sum(part.rows for part in self.done)

    @property
    def checksum(self) -> str:
        """SHA-256 of the checksums of all finished parts."""
        return hashlib.sha256("".join(part.sha256 for part in self.done).encode()).hexdigest()


def export(fragments: Sequence[Any], condition: Any, state: State, folder: ObjectFolder, say: Say) -> None:
    """Write the parts that are not there yet, and bring the state up to date.

    Args:
        fragments: the parts of the table, as fragments of an Arrow dataset.
        condition: an expression of Arrow that selects rows; None: all.
        state: how far the export is (`begun`).

    Raises:
        BatchError: the folder cannot be written.
    """
    request, parts = state.request, len(fragments)
    if state.done:
        say(f"going on after {len(state.done):,} of {parts:,} parts")
    for number in range(len(state.done), parts):
        rows = fragments[number].to_table(columns=request.columns, filter=condition)
        content = encoded(rows, request.format)
        name = f"part-{number:05d}.{request.format}"
        folder.write(name, content)
        state.done.append(Part(name=name, rows=rows.num_rows, sha256=hashlib.sha256(content).hexdigest()))
        folder.write(STATE, msgspec.json.encode(state))
        say(f"part {number + 1:,} of {parts:,}: {state.rows:,} rows so far")
    folder.write(SUCCESS, msgspec.json.encode(state))


def begun(request: Request, folder: ObjectFolder, ranges: Callable[[], list[list[str]]] = list) -> State:
    """Begin an export, or return how far it is.

    Args:
        ranges: chooses the ranges of a source table.

    Raises:
        BatchError: the folder has something else in it, or cannot be written.
    """
    try:
        found = msgspec.json.decode(folder.read(STATE), type=State)
    except FileNotFoundError:
        if names := folder.names():
            raise BatchError(f"--to: the folder has {names[0]!r} in it already: choose an empty one") from None
        state = State(request=request, ranges=ranges())
        folder.write(STATE, msgspec.json.encode(state))
        return state
    except msgspec.DecodeError:
        raise BatchError(f"--to: {STATE} of the folder cannot be read: choose an empty one") from None
    if found.request != request:
        raise BatchError("--to: the folder has another export, or one of another run, in it: choose an empty one")
    return found


def encoded(rows: pa.Table, kind: str) -> bytes:
    """Return rows as the content of a file."""
    content = io.BytesIO()
    if kind == "parquet":
        pq.write_table(rows, content)
    elif kind == "csv":
        pa_csv.write_csv(rows, content)
    else:
        content.writelines(msgspec.json.encode(row) + b"\n" for row in rows.to_pylist())
    return content.getvalue()
