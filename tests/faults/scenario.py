"""A running fault scenario: its workers, shop, servers, seeded random choices and the time of its recovery."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.partitioner import DefaultPartitioner

from demo.watch import FinalWatch
from tests.faults.fault_shop import DETAILS_TOPIC, ORDERS_TOPIC, FaultShop
from tests.faults.result import Say
from tests.faults.testbed import PARTITIONS, FaultTestbed
from tests.faults.worker_pool import WorkerPool
from tests.support.kafka import Lag

FLOW_LIMIT_S: Final = 60.0
RECOVERY_LIMIT_S: Final = 60.0
FLOWING_SHARE: Final = 0.1
POLL_S: Final = 0.05


@dataclass(frozen=True)
class Dose:
    """Amount of a fault: number of times, total orders in surges, duration of an outage in seconds."""

    times: int = 1
    orders: int = 6_000
    outage_s: float = 0.0


@dataclass
class Scenario:
    """A running scenario.

    Attributes:
        is_swept: whether a sweep follows each snapshot; a mutant lacks it.
        has_peer: whether another system may work beside the workers; none does beside a mutant.
        beside: what works beside the workers until lag is 0.
        struck_at: when the last fault was done (of an outage: when it was over), of the monotonic clock.
        notes: more to report, by name.
        broken: what a fault itself saw go wrong, one line each.
    """

    testbed: FaultTestbed
    pool: WorkerPool
    shop: FaultShop
    watch: FinalWatch
    dose: Dose
    draw: random.Random
    say: Say
    is_swept: bool = True
    has_peer: bool = True
    beside: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    struck_at: float = 0.0
    struck_ns: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def struck(self, what: str) -> None:
        """Note that a fault was done, or that an outage is over."""
        self.struck_at, self.struck_ns = time.monotonic(), time.time_ns()
        self.say(f"    {what}")

    @contextlib.contextmanager
    def backlog(self, shares: int | None = None) -> Iterator[None]:
        """A surge of orders; its body runs when the first of them are visible, while the others are still pending.

        Args:
            shares: the dose's orders are spread over so many surges; by default over the dose's times.
        """
        orders = self.dose.orders // (shares or self.dose.times)
        failed: list[BaseException] = []

        def surge() -> None:
            try:
                self.shop.surge(orders)
            except BaseException as error:
                failed.append(error)

        wanted = len(self.watch.first_seen_ns) + max(1, int(orders * FLOWING_SHARE))
        thread = threading.Thread(target=surge, name="surge")
        thread.start()
        try:
            if not self.watch.wait_for(wanted, FLOW_LIMIT_S):
                raise TimeoutError(f"a surge of {orders} orders does not flow within {FLOW_LIMIT_S:.0f} s")
            yield
        finally:
            thread.join()
        if failed:
            raise failed[0]

    def pause(self, shortest_s: float, longest_s: float) -> None:
        """Wait for a random time."""
        time.sleep(self.draw.uniform(shortest_s, longest_s))

    # -- recovery -----------------------------------------------------------------------------------------------------

    def progress_s(self, limit_s: float) -> tuple[float | None, float | None]:
        """Wait until an order of every partition has become visible since the last fault.

        Returns the seconds until the first order, and until every partition had one; None if not within the limit.
        """
        deadline = self.struck_at + limit_s
        while True:
            after = [(at, key) for key, at in self.watch.seen_ns().items() if at > self.struck_ns]
            first_of: dict[int, int] = {}
            for at, key in sorted(after):
                first_of.setdefault(_partition(key), at)
            seconds = [(at - self.struck_ns) / 1e9 for at in first_of.values()]
            if len(seconds) == PARTITIONS:
                return round(min(seconds), 2), round(max(seconds), 2)
            if time.monotonic() > deadline:
                return (round(min(seconds), 2) if seconds else None), None
            time.sleep(POLL_S)

    def note_recovery(self, name: str) -> None:
        """Wait until every partition goes on after the last fault, and note when the first did."""
        first_s, every_s = self.progress_s(RECOVERY_LIMIT_S)
        self.notes.setdefault("first_s", {})[name] = first_s
        self.say(f"      first order after {first_s} s, every partition after {every_s} s")
        if every_s is None:
            self.broken.append(f"{name}: not every partition went on within {RECOVERY_LIMIT_S:.0f} s")

    def lag_zero_s(self, limit_s: float) -> float | None:
        """Wait until the group has committed every change that the shop has made; None if not within the limit.

        The load has ended: a mark behind its last change says when the connector has written all of them.
        """
        self.shop.wait_captured()
        lag = Lag(self.testbed.kafka.bootstrap, self.testbed.app_id(), [ORDERS_TOPIC, DETAILS_TOPIC])
        try:
            while not lag.is_zero():
                if time.monotonic() > self.struck_at + limit_s:
                    return None
                self.pool.start()
                time.sleep(POLL_S)
        finally:
            lag.close()
        return round(time.monotonic() - self.struck_at, 2)


_partitioner = DefaultPartitioner()
_numbers = list(range(PARTITIONS))


def _partition(key: str) -> int:
    return int(_partitioner(key.encode(), _numbers, _numbers))
