"""Cache of downloaded programs; an entry is either complete or absent.

An artifact is downloaded into a temporary folder next to its target, gets a manifest with the size, time and SHA-256 of
every file, and is renamed into place. Each use compares the files with the manifest: sizes and times always, contents
if a time differs. Only one process at a time downloads an artifact; others wait and use the result.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from stack.errors import StackError
from stack.job import Job

_MANIFEST = "manifest.json"
_LOCK_POLL_SECONDS = 0.1
_SILENT_POLLS = 20


def ensure(cache: Path, name: str, fetch: Callable[[Path], None], job: Job) -> Path:
    """Return the folder of the artifact `name`; if missing or damaged, first call `fetch` to fill a new folder."""
    target = cache / name
    if is_whole(target):
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"cannot create the cache folder {cache} ({error.strerror}): set MILLRACE_CACHE") from None
    with _locked(cache / f".{name}.lock", job):
        if is_whole(target):
            return target
        if target.exists():
            job.report(f"{target} is damaged: downloading it again")
        for leftover in cache.glob(f".{name}.partial-*"):
            shutil.rmtree(leftover)
        partial = cache / f".{name}.partial-{os.getpid()}"
        partial.mkdir()
        fetch(partial)
        write_manifest(partial)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    return target


def write_manifest(folder: Path) -> None:
    """Write the manifest of all files in `folder` and its subfolders."""
    files = {str(path.relative_to(folder)): _describe(path) for path in _files(folder)}
    (folder / _MANIFEST).write_text(json.dumps(files, indent=1, sort_keys=True))


def is_whole(folder: Path) -> bool:
    """Whether `folder` contains exactly the files of its manifest, all unchanged."""
    try:
        expected = json.loads((folder / _MANIFEST).read_text())
        found = {str(path.relative_to(folder)): path for path in _files(folder)}
        return (
            bool(expected)
            and found.keys() == expected.keys()
            and all(_is_unchanged(path, expected[name]) for name, path in found.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path != folder / _MANIFEST)


def _describe(path: Path) -> dict[str, object]:
    status = path.stat()
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns, "sha256": _sha256(path)}


def _is_unchanged(path: Path, expected: dict[str, object]) -> bool:
    status = path.stat()
    if status.st_size != expected["size"]:
        return False
    return status.st_mtime_ns == expected["modified_ns"] or _sha256(path) == expected["sha256"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(path: Path, job: Job) -> Iterator[None]:
    with path.open("a") as file:
        for attempt in itertools.count():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _SILENT_POLLS:
                    job.report("waiting: another process is downloading the same programs")
                job.pause(_LOCK_POLL_SECONDS)
        yield
