"""Faults inside a worker process that no outside signal would time right; the code itself stays as it is.

The workers of all scenarios are started through `python -m tests.faults.mutants`, which installs these first:

- the file named by `FAULTS_STOP_FILE` makes the worker freeze itself (SIGSTOP) once, after the fold of a turn that
  publishes an order and before its transaction begins; without the file nothing happens.
- `FAULTS_BATCH_BYTES` limits a prepared record batch, so that a small transaction also takes several produce requests,
  as it does where its partitions have several leaders.
- `FAULTS_CLOCK=clock_ahead` or `clock_behind` shifts the wall clock by an hour.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from streams.topics import ORDER_FINAL

HOUR_S: Final = 3_600
SHIFTS_S: Final = {"clock_ahead": HOUR_S, "clock_behind": -HOUR_S}


def shift_clock(seconds: int) -> None:
    """Shift `time.time` and `time.time_ns` of this process; the monotonic clock stays right."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + seconds * 10**9


def stop_before_commit(stop_file: Path) -> None:
    """Freeze this process right before a commit if the file exists, and delete the file."""
    from streams.runtime.partition.committer import KafkaTransactions

    real: Callable[..., Any] = KafkaTransactions.commit

    def freeze_once() -> None:
        if stop_file.exists():
            stop_file.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)

    async def commit(self: Any, outputs: Any, offsets: Any) -> Any:
        if any(record.topic == ORDER_FINAL for record in outputs):
            freeze_once()
        return await real(self, outputs, offsets)

    setattr(KafkaTransactions, "commit", commit)  # noqa: B010 - a method is replaced, on purpose


def limit_batches(size_bytes: int) -> None:
    """Send a transaction's records in batches of this size."""
    from streams.runtime.partition import committer

    assert size_bytes < committer.PREPARED_BATCH_BYTES
    setattr(committer, "PREPARED_BATCH_BYTES", size_bytes)  # noqa: B010 - a constant is replaced, on purpose


def install() -> None:
    """Prepare this process, before anything of Faust is imported."""
    shift_s = SHIFTS_S.get(os.environ.get("FAULTS_CLOCK", ""), 0)
    if shift_s:
        shift_clock(shift_s)


def install_in_the_runtime() -> None:
    """Prepare the runtime, once it may be imported."""
    stop_file = os.environ.get("FAULTS_STOP_FILE")
    if stop_file:
        stop_before_commit(Path(stop_file))
    batch_bytes = os.environ.get("FAULTS_BATCH_BYTES")
    if batch_bytes:
        limit_batches(int(batch_bytes))
