"""Measure a worker's state: the time to restore it, its size on disk, and the failover time that a standby saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench import inputs
from bench.inputs import Input
from bench.kafka import OutputWatch
from bench.machine import tree_usage
from bench.testbed import Say, StackTestbed, generator, plan_of
from demo.workers import Worker
from stack.errors import StackError
from streams.topics import ORDER_FINAL

SERVERS: Final = ("kafka", "redis")
PARTITIONS: Final = 4
APP_ID: Final = "bench-state"
LIMIT_S: Final = 600.0
POLL_S: Final = 0.05
READY_POLL_S: Final = 0.2
"""Interval of status requests; longer than `POLL_S`, because each request slows down the restore a little."""
_MIB: Final = 2**20


def measured(orders: int, *, say: Say) -> list[dict[str, Any]]:
    """Measure one full restore, and one failover each without and with standbys; return one row per measurement."""
    with StackTestbed.opened(SERVERS, partitions=PARTITIONS) as testbed:
        testbed.apply_topics(APP_ID)
        plan = plan_of(Input(name="state", orders=orders))
        testbed.write(inputs.payment_method_changes(plan, generator()))
        events = testbed.write(inputs.order_changes(inputs.orders_of(plan, generator())))
        say(f"{orders:,} orders: {events:,} events written")
        rows = [_restored(testbed, orders, bytes_on_disk=_filled(testbed, orders))]
        say(_restore_line(rows[-1]))
        for standbys in (0, 1):
            rows.append(_failed_over(testbed, orders, standbys))
            say(_failover_line(rows[-1]))
        return rows


def _restore_line(row: dict[str, Any]) -> str:
    return (
        f"restored from nothing: {row['records']:,} records in {row['restore_s']:.1f} s "
        f"({row['records_per_s']:,.0f}/s), {row['rss_mb']:.0f} MB; {row['disk_bytes_per_order']:.0f} bytes per order"
    )


def _failover_line(row: dict[str, Any]) -> str:
    return (
        f"{row['standbys']} standbys per partition: all partitions were served again {row['failover_s']:.1f} s after "
        f"the kill, {row['records']:,} records were restored in that time"
    )


def _filled(testbed: StackTestbed, orders: int) -> int:
    """Let a new worker process all orders; return the size of its state on disk, in bytes."""
    worker = testbed.worker("filling", ORDERS_APP_ID=APP_ID)
    with OutputWatch(testbed.kafka.bootstrap, ORDER_FINAL) as watch:
        worker.start()
        try:
            _until(lambda: watch.distinct >= orders, "all orders were visible", [worker])
        finally:
            worker.stop()
    return sum(path.stat().st_size for path in (worker.log.parent / "state").rglob("*") if path.is_file())


def _restored(testbed: StackTestbed, orders: int, *, bytes_on_disk: int) -> dict[str, Any]:
    """Measure how a worker without local state restores it, from the start of its process until it is ready."""
    worker, peak = testbed.worker("restoring", ORDERS_APP_ID=APP_ID), 0
    began = time.monotonic()
    worker.start()
    try:
        while not worker.is_ready():
            peak = max(peak, tree_usage(worker.process.pid).rss_bytes)
            _refuse_stopped([worker], began)
            time.sleep(READY_POLL_S)
        ready_s = time.monotonic() - began
        partitions = _partitions(worker)
        usage = tree_usage(worker.process.pid)
    finally:
        worker.stop()
    records = sum(partition["restored_records"] for partition in partitions)
    # Partitions are restored in parallel, so the slowest partition determines the time.
    restore_s = max(partition["restore_s"] for partition in partitions)
    return {
        "kind": "restore",
        "orders": orders,
        "records": records,
        "restore_s": round(restore_s, 3),
        "records_per_s": round(records / restore_s) if restore_s else 0,
        "ready_s": round(ready_s, 3),
        "cpu_s": round(usage.cpu_s, 2),
        "rss_mb": round(max(peak, usage.rss_bytes) / _MIB, 1),
        "disk_mb": round(bytes_on_disk / _MIB, 1),
        "disk_bytes_per_order": round(bytes_on_disk / orders, 1),
    }


def _failed_over(testbed: StackTestbed, orders: int, standbys: int) -> dict[str, Any]:
    """Kill one of two workers; measure the time until the other one serves all partitions, with the session timeout.

    Even with a standby, a partition replays up to `RECENT_OFFSETS` (streams/runtime/state/changelog.py) offsets, so a
    standby makes no difference for a small state.
    """
    settings = {"ORDERS_APP_ID": APP_ID, "STANDBY_REPLICAS": str(standbys)}
    victim, heir = (testbed.worker(f"{name}-{standbys}", **settings) for name in ("victim", "heir"))
    try:
        for worker in (victim, heir):
            worker.start()
        workers = [victim, heir]
        _until(
            lambda: _serves(victim) and _serves(heir) and _is_settled(workers, standbys),
            "both workers served partitions",
            workers,
        )
        before = _restored_records(heir)
        killed = time.monotonic()
        victim.kill()
        _until(lambda: _serves(heir) == PARTITIONS, "it served all partitions", [heir])
        failover_s = time.monotonic() - killed
        records = _restored_records(heir)
    finally:
        victim.stop()
        heir.stop()
    return {
        "kind": "failover",
        "orders": orders,
        "standbys": standbys,
        "failover_s": round(failover_s, 2),
        "records": records - before,
    }


def _is_settled(workers: Sequence[Worker], standbys: int) -> bool:
    """Whether all partitions are being processed and all standbys have caught up."""
    stats = [worker.stats() for worker in workers]
    found = [standby for each in stats if each is not None for standby in each["standbys"].values()]
    caught_up = [standby for standby in found if standby["restore_remaining"] == 0]
    return sum(_serves(worker) for worker in workers) == PARTITIONS and len(caught_up) == standbys * PARTITIONS


def _serves(worker: Worker) -> int:
    """Return the number of partitions that a worker is currently processing."""
    return sum(partition["state"] == "running" for partition in _partitions(worker))


def _restored_records(worker: Worker) -> int:
    """Return the number of records that a worker has restored since its start, not counting its standbys."""
    stats = worker.stats()
    return 0 if stats is None else int(stats["restored_records"])


def _partitions(worker: Worker) -> list[dict[str, Any]]:
    stats = worker.stats()
    return [] if stats is None else list(stats["partitions"].values())


def _until(condition: Callable[[], object], what: str, workers: Sequence[Worker]) -> None:
    began = time.monotonic()
    while not condition():
        _refuse_stopped(workers, began, what)
        time.sleep(POLL_S)


def _refuse_stopped(workers: Sequence[Worker], began: float, what: str = "it was ready") -> None:
    """Raise `StackError` if a worker has stopped, or if the time limit since `began` is exceeded."""
    for worker in workers:
        if not worker.is_running():
            raise StackError(f"a worker stopped before {what}; the end of its log:{_kept(worker.log)}")
    if time.monotonic() - began > LIMIT_S:
        raise StackError(f"the time limit of {LIMIT_S:.0f} s was exceeded before {what}")


def _kept(log: Path) -> str:
    return "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
