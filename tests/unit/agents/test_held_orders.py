"""Goal: held orders are requested seldom, none is missed, and a released lock is noticed in time.

Method: held orders in a partition in memory; source time and the worker's clock move together, a turn each second.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.held_orders import LAST_LEVEL, LONGEST_PAUSE_S, HeldOrders
from streams.model.order_life import HELD_KINDS, Standing
from streams.runtime.testing import MemoryPartition
from tables.order_state import CODEC
from tests.support.builders import COMMITTED_MS

PAGE = 10


class TimersOnly(MemoryPartition):
    """A partition of which only the timers are known: (time, key), by kind."""

    def __init__(self) -> None:
        super().__init__(0, {}, CODEC)
        self.entries: dict[int, list[tuple[int, bytes]]] = {kind: [] for kind in HELD_KINDS}

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        entries = self.entries[kind]
        begin = 0 if after is None else bisect_right(entries, after)
        return takewhile(lambda entry: until_ms is None or entry[0] <= until_ms, islice(entries, begin, None))

    def count(self, kind: int) -> int:
        return len(self.entries[kind])


class HeldTestbed:
    """A partition whose held orders are requested once a second.

    Attributes:
        requested: at which seconds each order was requested.
    """

    def __init__(self, page: int = 1_000) -> None:
        self.now_s = 0
        self.partition = TimersOnly()
        self.orders = HeldOrders(lambda: float(self.now_s))
        self.requested: dict[str, list[int]] = defaultdict(list)
        self._page = page

    def hold(self, order_id: str, *, age_s: int = 0, kind: int = Standing.HELD) -> None:
        insort(self.partition.entries[kind], (self.now_ms - 1_000 * age_s, order_id.encode()))

    @property
    def now_ms(self) -> int:
        return COMMITTED_MS + 1_000 * self.now_s

    def pass_s(self, seconds: int) -> Counter[int]:
        """Let seconds pass; return how many orders were requested in each."""
        counts: Counter[int] = Counter()
        for _ in range(seconds):
            self.partition.now_ms = self.now_ms
            due = self.orders.due(self.partition, self._page)
            assert len(due) <= self._page
            assert len({key for _, _, key in due}) == len(due), "no order twice in a turn"
            for _, _, key in due:
                self.requested[key.decode()].append(self.now_s)
            counts[self.now_s] = len(due)
            self.now_s += 1
        return counts


def test_the_pauses_between_two_requests_for_an_order_double_up_to_the_longest() -> None:
    testbed = HeldTestbed()
    testbed.hold("a")
    testbed.pass_s(2_000)
    asked = testbed.requested["a"]
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] == 0, "the first request comes at once"
    assert max(pauses) <= LONGEST_PAUSE_S
    assert len(asked) <= 2 * LAST_LEVEL + 2_000 / LONGEST_PAUSE_S + 1
    assert pauses[-5:] == [LONGEST_PAUSE_S] * 5


def test_a_thousand_orders_that_are_held_for_good_are_requested_a_few_times_a_second() -> None:
    testbed = HeldTestbed()
    for number in range(1_000):
        testbed.hold(f"h{number}", age_s=600, kind=HELD_KINDS[number % 2])
    counts = testbed.pass_s(1_024)
    assert counts[0] == 1_000, "all are requested when the partition opens"
    assert sum(counts.values()) == 1_000 * 1_024 / LONGEST_PAUSE_S


def test_more_held_orders_than_fit_into_a_turn_are_all_requested_in_consecutive_turns() -> None:
    testbed = HeldTestbed(PAGE)
    for number in range(4 * PAGE + 3):
        testbed.hold(f"h{number}", age_s=number, kind=HELD_KINDS[number % 2])
    testbed.pass_s(8)
    assert len(testbed.requested) == 4 * PAGE + 3


def test_new_held_orders_do_not_keep_the_old_ones_from_being_requested() -> None:
    testbed = HeldTestbed(PAGE)
    testbed.hold("old", age_s=500)
    for second in range(300):
        for number in range(2 * PAGE):
            testbed.hold(f"new-{second}-{number}")
        testbed.pass_s(1)
        del testbed.partition.entries[Standing.HELD][1 : -6 * PAGE]  # the locks of most are soon marked as emitted
    assert len(testbed.requested["old"]) >= 2


def test_after_a_release_all_held_orders_of_the_partition_are_requested_at_once() -> None:
    testbed = HeldTestbed()
    for number in range(100):
        testbed.hold(f"h{number}", age_s=500)
    assert testbed.pass_s(1)[0] == 100
    assert sum(testbed.pass_s(10).values()) == 0
    testbed.orders.request_all(7)
    assert sum(testbed.pass_s(10).values()) == 0, "another partition"
    testbed.orders.request_all(0)
    assert sum(testbed.pass_s(1).values()) == 100


@pytest.mark.parametrize("now_ms", [0, COMMITTED_MS])
def test_an_order_of_an_unknown_time_is_requested_too(now_ms: int) -> None:
    testbed = HeldTestbed()
    testbed.partition.entries[Standing.HELD].append((0, b"a"))
    for second in range(300):
        testbed.now_s, testbed.partition.now_ms = second, now_ms
        testbed.requested["a"] += [second] * len(testbed.orders.due(testbed.partition, PAGE))
    assert testbed.requested["a"] == [0, LONGEST_PAUSE_S, 2 * LONGEST_PAUSE_S]


@given(
    ages=st.lists(st.tuples(st.integers(-3, 400), st.sampled_from(HELD_KINDS)), max_size=30),
    page=st.integers(3, 12),
    begin=st.integers(0, 400),
)
def test_no_order_waits_longer_than_two_of_the_longest_pauses_however_small_the_pages(
    ages: list[tuple[int, int]], page: int, begin: int
) -> None:
    testbed = HeldTestbed(page)
    testbed.pass_s(begin)
    for number, (age_s, kind) in enumerate(ages):
        testbed.hold(f"h{number}", age_s=age_s, kind=kind)
    turns = 2 * len(ages)  # in which a full page may be left over for the next one
    testbed.pass_s(3 * int(LONGEST_PAUSE_S))
    for number in range(len(ages)):
        asked = [begin, *testbed.requested[f"h{number}"], testbed.now_s]
        assert max(later - earlier for earlier, later in pairwise(asked)) <= 2 * LONGEST_PAUSE_S + turns
