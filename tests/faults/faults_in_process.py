"""Faults inside a worker process that no outside signal would time right; the code itself stays as it is.

The workers of all scenarios are started through `python -m tests.faults.mutants`, which installs these first:

- the file named by `FAULTS_STOP_FILE` makes the worker freeze itself (SIGSTOP) once, after the fold of a turn that
  publishes an order and before its transaction begins; without the file nothing happens.
- `FAULTS_BATCH_BYTES` limits a prepared record batch, so that a small transaction also takes several produce requests,
  as it does where its partitions have several leaders.
- `FAULTS_FIGURES_FILE` names a file that is written every half second: how many requests the process has sent to Kafka
  (an attempt to connect counts as one), and how many producers of partitions are running.
- `FAULTS_CLOCK=clock_ahead` or `clock_behind` shifts the wall clock by an hour.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from streams.topics import ORDER_FINAL

FIGURES_INTERVAL_S: Final = 0.5
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
    from streams.runtime.faust import table_manager
    from streams.runtime.partition import committer

    for module in (committer, table_manager):
        assert size_bytes < module.PREPARED_BATCH_BYTES
        setattr(module, "PREPARED_BATCH_BYTES", size_bytes)  # noqa: B010 - a constant is replaced, on purpose


def write_figures(path: Path) -> None:
    """Count requests to Kafka and running producers, and write both to a file again and again."""
    from aiokafka.conn import AIOKafkaConnection

    from streams.runtime.partition.producer import PartitionProducer

    producers: weakref.WeakSet[Any] = weakref.WeakSet()
    requests = 0
    send, connect, start = AIOKafkaConnection.send, AIOKafkaConnection.connect, PartitionProducer.start

    def counted_send(self: Any, *rest: Any, **options: Any) -> Any:
        nonlocal requests
        requests += 1
        return send(self, *rest, **options)

    async def counted_connect(self: Any) -> Any:
        nonlocal requests
        requests += 1
        return await connect(self)

    async def noted_start(self: Any) -> None:
        producers.add(self)
        await start(self)

    def write() -> None:
        while True:
            running = sum(_is_running(each) for each in list(producers))
            part = path.with_suffix(".part")
            part.write_text(json.dumps({"requests": requests, "producers": running}))
            part.replace(path)
            time.sleep(FIGURES_INTERVAL_S)

    setattr(AIOKafkaConnection, "send", counted_send)  # noqa: B010 - methods are replaced, on purpose
    setattr(AIOKafkaConnection, "connect", counted_connect)  # noqa: B010
    setattr(PartitionProducer, "start", noted_start)  # noqa: B010
    threading.Thread(target=write, name="figures", daemon=True).start()


def _is_running(producer: Any) -> bool:
    """Whether a producer has a sender at work or an open connection."""
    sender = producer._sender._sender_task
    connections = list(producer.client._conns.values())
    return (sender is not None and not sender.done()) or any(each.connected() for each in connections)


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
    figures_file = os.environ.get("FAULTS_FIGURES_FILE")
    if figures_file:
        write_figures(Path(figures_file))
