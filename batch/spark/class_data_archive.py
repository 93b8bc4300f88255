"""The class-data archive: Java maps the classes of Spark from a file instead of reading and checking them one by one.

1. A single run that finds no archive for its Java, pyspark and jars tells Java to write one when it ends, which is some
   seconds after the command has ended. Java writes the file's head last, and never into a file that others have open.
2. The next command that finds a file with its head gives it its lasting name, which tells the number of its bytes.
3. Later ones map it. A file of another size is not used: Java would crash on one that was cut off. One of another Java
   or of other jars is refused by Java itself, which then goes on without.

So an archive that is missing, partial, damaged or another's costs a run its gain and nothing else.
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
"""How a complete archive of this kind begins."""
# Java would name every class that it leaves out.
_SILENT: Final = "-Xlog:cds=off -Xlog:cds+dynamic=off -Xlog:class+path=off"


def java_options(settings: SparkSettings, folder: Path, *, records: bool) -> str:
    """What Java has to be told to map the archive in `folder`, or (`records`) to write one when it ends."""
    java = _java(settings)
    if java is None or not settings.master.startswith("local"):
        return ""
    stem = f"spark-classes-{_key(settings, java)}"
    partial = folder / f"{stem}.partial"
    with contextlib.suppress(OSError):  # a folder that can't be read or written: no archive
        _settle(partial, folder, stem)
        for found in _whole(folder, stem):
            return f"-XX:SharedArchiveFile={found} {_SILENT}"
        if records and _is_ready(folder):
            return f"-XX:ArchiveClassesAtExit={partial} {_SILENT}"
    return ""


def _settle(partial: Path, folder: Path, stem: str) -> None:
    """Give a complete file its lasting name."""
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
    # A name with a space or a quote would not get through the options as one.
    return os.access(folder, os.W_OK | os.X_OK) and not set(str(folder)) & set(" \t\"'\\")


def _java(settings: SparkSettings) -> Path | None:
    """The program that pyspark will start."""
    found = shutil.which("java") if settings.java_home is None else str(settings.java_home / "bin" / "java")
    path = Path(found).resolve() if found else None
    return path if path is not None and path.is_file() else None


def _key(settings: SparkSettings, java: Path) -> str:
    """Changes with whatever an archive is made for."""
    files = [java, *sorted(settings.jars.glob("*.jar"))]
    known = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    text = repr((pyspark.__version__, pyspark.__file__, known))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12]
