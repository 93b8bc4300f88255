"""The second half of the demo: fill the lake (Bronze, Silver, Gold) and compare it with the database."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from config.settings import environment_with
from demo.workers import Worker
from stack.errors import StackError
from stack.site import REPOSITORY

ARCHIVED_LIMIT_S: Final = 240.0
VERDICTS: Final = {0: "equal", 1: "different", 2: "behind"}
LAYERS: Final = ("bronze", "silver", "gold")
_POLL_S: Final = 0.5

Say = Callable[[str], None]


def archive_all(worker: Worker, records: int, say: Say) -> None:
    """Run the archive worker until it has stored the given number of records in object storage.

    Raises:
        StackError: the worker ended, or the time limit was exceeded.
    """
    worker.start()
    try:
        worker.wait_ready()
        say(f"  worker {worker.url}/stats/")
        deadline = time.monotonic() + ARCHIVED_LIMIT_S
        while (done := archived(worker)) < records:
            if not worker.is_running() or time.monotonic() > deadline:
                raise StackError(f"only {done:,} of {records:,} changes were archived: see {worker.log}")
            time.sleep(_POLL_S)
        say(f"  {done:,} changes are archived")
    finally:
        worker.stop()


def archived(worker: Worker) -> int:
    """Return the number of records that the worker has stored in object storage."""
    stats = worker.stats()
    return 0 if stats is None else int(stats["archive"].get("records", 0))


def batch(arguments: Sequence[str], environment: Mapping[str, str], say: Say) -> tuple[int, list[str]]:
    """Run `python -m batch` and print its output; return its exit code and output lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "batch", *arguments],
        env=environment_with({**environment, "PYTHONUNBUFFERED": "1"}),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            say(f"  {lines[-1]}")
        return process.wait(), lines
    finally:
        if process.poll() is None:  # the demo was interrupted
            process.terminate()
            process.wait()


def rows_per_table(lines: Sequence[str]) -> dict[str, int]:
    """Parse the number of rows written to each table from the output of `batch run`; keys are `layer/table`."""
    found = {}
    for line in lines:
        cells = line.split()
        if len(cells) >= 6 and cells[0] in LAYERS and cells[2].replace(",", "").isdecimal():
            found[f"{cells[0]}/{cells[1]}"] = int(cells[2].replace(",", ""))
    return found
