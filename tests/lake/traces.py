"""What is written in files of a lake, whatever they are of: tables, their logs, change feeds, archived changes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def traces(files: Mapping[str, bytes], texts: Iterable[str]) -> dict[str, set[str]]:
    """The files with one of the texts anywhere in them; of Parquet files in any value, or in their statistics."""
    wanted = [*texts]
    found = {
        name: {text for text in wanted if text.encode() in _plain(name, content)} for name, content in files.items()
    }
    return {name: texts for name, texts in found.items() if texts}


def _plain(name: str, content: bytes) -> bytes:
    if not name.endswith(".parquet"):
        return content
    file = pq.ParquetFile(io.BytesIO(content))
    values: list[Any] = file.read().to_pylist()
    # A value as it is, besides how Python would write it, which escapes some.
    return content + b"\n".join(_texts(values)) + str(file.metadata.to_dict()).encode()


def _texts(value: Any) -> Iterable[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode()
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
