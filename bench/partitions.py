"""Measure what many partitions cost: memory, the event loop, and how long a change of workers takes.

Orders are written all the time. Workers start, one joins, one leaves, one is killed; at the end, all orders must have
been published exactly once.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from itertools import islice, tee
from typing import Any, Final, Self

from bench import inputs
from bench.inputs import Input, Order
from bench.kafka import OutputWatch, write_at
from bench.machine import tree_usage
from bench.starving import busy_processors, starve
from bench.testbed import Say, StackTestbed, generator, plan_of
from bench.verdict import Judge
from demo.workers import Worker
from ops.dataset.final_topic import FinalReader
from stack.errors import StackError
from streams.adapters.committed_reader import CommittedReader
from streams.topics import ORDER_FINAL, order_state_changelog

SERVERS: Final = ("kafka", "redis")
APP_ID: Final = "bench-partitions"
CHANGES: Final = ("start", "join", "leave", "kill", "starve")
USUAL_CHANGES: Final = CHANGES[:-1]
STARVED_S: Final = 30.0
FIRST_ORDERS: Final = 20_000
ORDERS_PER_WRITE: Final = 50
WRITE_PAUSE_S: Final = 0.5
CALM_S: Final = 5.0
"""Time between two changes of the workers."""
LIMIT_S: Final = 300.0
POLL_S: Final = 0.1
_MIB: Final = 2**20


def measured(
    partitions: int, workers: int, *, changes: Collection[str] = USUAL_CHANGES, states: int = 0, say: Say
) -> list[dict[str, Any]]:
    """Measure `workers` workers that share the partitions; return one row per change of the workers.

    Args:
        changes: changes to measure; the workers always start.
        states: number of states of finished orders that each partition has before the workers start.
    """
    with StackTestbed.opened(SERVERS, partitions=partitions) as testbed:
        testbed.apply_topics(APP_ID)
        feed = Feed(testbed)
        group = Group(testbed, workers)
        rows = []
        if states:
            _fill(testbed, states, say)
        try:
            with OutputWatch(testbed.kafka.bootstrap, ORDER_FINAL) as watch, feed:
                for name, change in group.changes(changes):
                    began = time.monotonic()
                    change()
                    group.wait_served()
                    rows.append({"partitions": partitions, "change": name, **group.figures(began)})
                    say(_line(rows[-1]))
                    time.sleep(CALM_S)
                feed.end()
                _until(lambda: watch.distinct >= len(feed.orders), "all orders were visible")
            _judge(testbed, feed.orders)
        finally:
            group.stop()
        return rows


def _fill(testbed: StackTestbed, states: int, say: Say) -> None:
    """Write copies of a finished order's state to the changelog, each with a key of its own.

    A worker processes the first orders, so that the changelog begins as it should; its disk is not used again.
    """
    first = testbed.worker("first", ORDERS_APP_ID=APP_ID)
    first.start()
    try:
        first.wait_ready(LIMIT_S)
        template = _finished_state(testbed)
    finally:
        first.stop()
    copies = (
        (number, uuid.uuid4().bytes.hex().encode(), template)
        for number in range(testbed.partitions)
        for _ in range(states)
    )
    say(f"{write_at(testbed.kafka.bootstrap, order_state_changelog(APP_ID), copies):,} states written")


def _finished_state(testbed: StackTestbed) -> bytes:
    """Wait until a state in the changelog is that of a published order, and return it."""
    published: set[bytes | None] = set()
    found: list[bytes] = []

    def see_state(key: bytes | None, value: bytes | None) -> None:
        if key in published and value:
            found.append(value)

    def is_found() -> bool:
        reader.visit_to_end(lambda key, _: published.add(key))
        changelog = CommittedReader(testbed.kafka.bootstrap, order_state_changelog(APP_ID), "bench-partitions-states")
        with changelog:
            changelog.visit_to_end(see_state)
        return bool(found)

    with FinalReader(testbed.kafka.bootstrap, ORDER_FINAL) as reader:
        _until(is_found, "an order was published")
    return found[-1]


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['partitions']} partitions, {row['workers']} workers, {row['change']}: all served after "
        f"{row['served_s']} s, event loop held for {row['loop_held_ms']} ms at most, {row['rss_mb']} MB per worker"
    )


class Feed:
    """Writes orders: many at first, then some all the time, until it is ended.

    Attributes:
        orders: the orders that were written.
    """

    def __init__(self, testbed: StackTestbed) -> None:
        plan = plan_of(Input(name="partitions", orders=FIRST_ORDERS * 4))
        self.orders: list[Order] = []
        self._testbed = testbed
        self._unwritten, changed = tee(inputs.orders_of(plan, generator()))
        self._changes = inputs.order_changes(changed)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="feed", daemon=True)
        testbed.write(inputs.payment_method_changes(plan, generator()))
        self._write(FIRST_ORDERS)

    def _write(self, count: int) -> None:
        orders = list(islice(self._unwritten, count))
        self._testbed.write(islice(self._changes, sum(1 + len(order.lines) for order in orders)))
        self.orders += orders

    def _write_on(self) -> None:
        while not self._is_over.wait(WRITE_PAUSE_S):
            self._write(ORDERS_PER_WRITE)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop writing."""
        self._is_over.set()
        self._thread.join()


class Group:
    """The workers that share the partitions."""

    def __init__(self, testbed: StackTestbed, size: int) -> None:
        self._partitions = testbed.partitions
        self._members = [testbed.worker(f"worker-{number}", ORDERS_APP_ID=APP_ID) for number in range(size)]
        self._guest = testbed.worker("guest", ORDERS_APP_ID=APP_ID)
        self._running: list[Worker] = []

    def changes(self, wanted: Collection[str]) -> Sequence[tuple[str, Callable[[], None]]]:
        """Return the wanted changes of the group in their order, with their names; a guest leaves only if it joined."""
        steps = zip(CHANGES, (self._start, self._join, self._leave, self._kill, self._starve), strict=True)
        return [(name, step) for name, step in steps if name in wanted]

    def _start(self) -> None:
        for worker in self._members:
            worker.start()
        self._running = [*self._members]

    def _join(self) -> None:
        self._guest.start()
        self._running.append(self._guest)

    def _leave(self) -> None:
        self._running.remove(self._guest)
        self._guest.stop()

    def _kill(self) -> None:
        """Kill one of several workers, or let a killed one come back alone."""
        victim = self._running.pop()
        victim.kill()
        if not self._running:
            self._running.append(victim)
            victim.start()

    def _starve(self) -> None:
        """Leave the workers next to no processor time for longer than their session lasts."""
        for worker in self._running:
            starve(worker.process.pid)
        with busy_processors():
            time.sleep(STARVED_S)

    def wait_served(self) -> None:
        """Wait until every partition is processed by one of the workers, and each worker has a part of them."""
        _until(lambda: self._served() == self._partitions, "all partitions were served", self._running)

    def _served(self) -> int:
        shares = [_running_partitions(worker) for worker in self._running]
        return sum(shares) if all(shares) else 0

    def figures(self, began: float) -> dict[str, Any]:
        """Return the figures of a change that began at this moment of the monotonic clock."""
        held = [(worker.stats() or {}).get("loop_held_s", 0.0) for worker in self._running]
        rss = [tree_usage(worker.process.pid).rss_bytes for worker in self._running]
        return {
            "workers": len(self._running),
            "served_s": round(time.monotonic() - began, 1),
            "loop_held_ms": round(max(held) * 1000),
            "rss_mb": round(max(rss) / _MIB),
        }

    def stop(self) -> None:
        """Stop all workers."""
        for worker in (*self._members, self._guest):
            worker.stop()


def _running_partitions(worker: Worker) -> int:
    stats = worker.stats()
    return 0 if stats is None else sum(each["state"] == "running" for each in stats["partitions"].values())


def _judge(testbed: StackTestbed, orders: Sequence[Order]) -> None:
    """Raise a `StackError` unless each order was published exactly once, with its product lines."""
    judge = Judge(inputs.expected_of(orders))
    with FinalReader(testbed.kafka.bootstrap, ORDER_FINAL) as reader:
        reader.visit_to_end(judge.see)
    verdict = judge.verdict()
    if verdict.missing or verdict.duplicates or verdict.unexpected or verdict.wrong:
        raise StackError(f"the orders are not right: {verdict}")


def _until(condition: Callable[[], object], what: str, workers: Sequence[Worker] = ()) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        for worker in workers:
            if not worker.is_running():
                raise StackError(f"a worker stopped before {what}: see {worker.log}")
        if time.monotonic() > deadline:
            raise StackError(f"the time limit of {LIMIT_S:.0f} s was exceeded before {what}")
        time.sleep(POLL_S)
