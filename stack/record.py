"""Save and load the record of a started server: its process, and where its output begins in the log."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.process import Process, ProcessState
from stack.site import write_private

_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a started server.

    Attributes:
        process: identity of the server's process.
        log_offset: size of the log before the server was started, in bytes.
        started_at: time at which the server was started, in seconds since 1970.
    """

    process: Process
    log_offset: int
    started_at: float

    def save(self, path: Path) -> None:
        """Write the record atomically."""
        write_private(path, json.dumps(asdict(self)))


def load_record(path: Path) -> Record | None:
    """Read the record at `path`; None if it is missing or unreadable."""
    try:
        fields = json.loads(path.read_text())
        return Record(**{**fields, "process": Process(**fields["process"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def process_state(path: Path) -> ProcessState:
    """Return the state of the process recorded at `path`; ended if there is no record."""
    record = load_record(path)
    return ProcessState.ENDED if record is None else record.process.state()


def new_record(process: Process, log_offset: int) -> Record:
    """Make the record of a process that was just started."""
    return Record(process=process, log_offset=log_offset, started_at=time.time())


def last_lines(log: Path, count: int, *, offset: int = 0) -> list[str]:
    """Return up to `count` of the last lines of a log that begin at the byte `offset` or later."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(offset, size - _TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
