"""Class-data sharing (CDS): Java maps Spark's classes from an archive file instead of loading and verifying each class.

1. A single run that finds no archive for its Java, pyspark and jars makes Java write one on exit, some seconds after
   the command has ended. Java writes the file's header last, and never writes to a file that another process has open.
2. The next command that finds a file with a header renames it; the final name contains the file's size in bytes.
3. Later commands map this file. A file whose size differs from the size in its name is not used, because Java would
   crash on a truncated archive. Java itself rejects an archive that was made with another Java or other jars, and
   continues without it.

So a missing, partial, damaged or foreign archive only makes a run start more slowly.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyspark

from config.settings import SparkSettings

_MAGIC: Final = bytes.fromhex("a8ab0bf0")
"""The first bytes of a complete archive; a partial archive has no header yet."""
# Without these options, Java prints every class that it leaves out of the archive.
_SILENT: Final = "-Xlog:cds=off -Xlog:cds+dynamic=off -Xlog:class+path=off"


def java_options(settings: SparkSettings, folder: Path, *, records: bool) -> str:
    """Return the Java options to use the archive in `folder`, or with `records` to write it if there is none."""
    java = _java(settings)
    if java is None or not settings.master.startswith("local"):
        return ""
    stem = f"spark-classes-{_key(settings, java)}"
    partial = folder / f"{stem}.partial"
    with contextlib.suppress(OSError):  # no archive if the folder cannot be read or written
        _name_complete(partial, folder, stem)
        for found in _whole(folder, stem):
            return f"-XX:SharedArchiveFile={found} {_SILENT}"
        if records and _is_ready(folder):
            return f"-XX:ArchiveClassesAtExit={partial} {_SILENT}"
    return ""


def _name_complete(partial: Path, folder: Path, stem: str) -> None:
    """Rename the partial archive to its final name if Java has finished writing it."""
    with contextlib.suppress(FileNotFoundError), partial.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            size = os.fstat(file.fileno()).st_size
            partial.rename(folder / f"{stem}-{size}.jsa")


def _whole(folder: Path, stem: str) -> Iterator[Path]:
    for path in sorted(folder.glob(f"{stem}-*.jsa")):
        if path.stem == f"{stem}-{path.stat().st_size}":
            yield path


def _is_ready(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    # Java would split its options at a space or quote in the path.
    return os.access(folder, os.W_OK | os.X_OK) and not set(str(folder)) & set(" \t\"'\\")


def _java(settings: SparkSettings) -> Path | None:
    """Return the Java executable that pyspark will start; None if there is none."""
    found = shutil.which("java") if settings.java_home is None else str(settings.java_home / "bin" / "java")
    path = Path(found).resolve() if found else None
    return path if path is not None and path.is_file() else None


def _key(settings: SparkSettings, java: Path) -> str:
    """Return a short hash of everything that an archive depends on: the Java executable, pyspark and the jars."""
    files = [java, *sorted(settings.jars.glob("*.jar"))]
    known = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    text = repr((pyspark.__version__, pyspark.__file__, known))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12]
