"""Faults of the network between workers and servers: row 18."""

from __future__ import annotations

import time
from typing import Final

from tests.faults.scenario import Scenario

HELD_SHARE: Final = 0.01
ENOUGH_ACCEPTED: Final = 5
"""Accepted late requests after which the row ends, because there are none if the code is right."""

LIMIT_S: Final = 3_600.0
DELIVERY_LIMIT_S: Final = 30.0
POLL_S: Final = 0.05


def end_late(scenario: Scenario) -> None:
    """Hold the request that ends a transaction in one of a hundred, cut its connection, and deliver it in the next
    transaction of the same producer. The broker has to refuse all of them.

    The live shop makes the transactions, in turns of a few changes; many orders at once would make few large ones.
    """
    proxy, deadline = scenario.testbed.proxy, time.monotonic() + LIMIT_S
    proxy.hold(HELD_SHARE, scenario.draw)
    late = proxy.late

    def is_enough() -> bool:
        return late.held >= scenario.dose.times or late.answers.count(0) >= ENOUGH_ACCEPTED

    scenario.shop.surge(scenario.dose.orders)
    while not is_enough():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{late.held} requests were held within {LIMIT_S:.0f} s, not {scenario.dose.times}")
        time.sleep(POLL_S)
    scenario.pool.until(lambda: len(late.answers) >= late.held, "every held request was delivered", DELIVERY_LIMIT_S)
    proxy.heal()
    scenario.struck(f"{late.held} of {late.seen} transactions were to be ended by a request that came late")
    accepted = late.answers.count(0)
    scenario.notes |= {"transactions": late.seen, "held": late.held, "accepted": accepted}
    if accepted:
        scenario.broken.append(f"the broker accepted {accepted} late requests")
