"""Faults of the network between workers, connector and servers: rows 7 and 18."""

from __future__ import annotations

import time
from typing import Final

from tests.faults import beside
from tests.faults.measured import watch_outage
from tests.faults.scenario import Scenario
from tests.faults.tcp_proxy import TcpProxy
from tests.faults.trouble import Trouble
from tests.faults.watching import wait_connector, watching

HELD_SHARE: Final = 0.01
ENOUGH_ACCEPTED: Final = 15
"""Accepted late requests after which the row ends, because there are none if the code is right. Not each one shows:
half a transaction may leave only a state behind, which later changes mend."""

CONNECTOR_LIMIT_S: Final = 90.0
LIMIT_S: Final = 3_600.0
DELIVERY_LIMIT_S: Final = 30.0
POLL_S: Final = 0.05


def end_late(scenario: Scenario) -> None:
    """Hold the request that ends a transaction in one of a hundred, cut its connection, and deliver it in the next
    transaction of the same producer. The broker has to refuse all of them. The same happens to Quix Streams beside the
    workers, which is not judged.

    The live shop makes the transactions, in turns of a few changes; many orders at once would make few large ones.
    """
    proxy, deadline = scenario.testbed.network.kafka, time.monotonic() + LIMIT_S
    if scenario.has_peer:
        scenario.beside.enter_context(beside.quix(scenario))
    proxy.hold(HELD_SHARE, scenario.draw, ours=scenario.testbed.app_id(), share_beside=beside.HELD_SHARE)
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


def sick_network(scenario: Scenario) -> None:
    """Make the network sick between workers and Kafka, workers and Redis, connector and database, one after the other,
    in every way. Nothing is done for the recovery, except by the watch over the connector.
    """
    testbed = scenario.testbed
    network = testbed.network
    before = scenario.pool.pids()
    testbed.capture(**network.connector())
    scenario.shop.wait_captured(streamed=True)
    with watching(scenario):
        for server, proxy in (("kafka", network.kafka), ("redis", network.redis), ("database", network.database)):
            for trouble in Trouble:
                _make_sick(scenario, server, proxy, trouble)
    testbed.capture()
    scenario.shop.wait_captured(streamed=True)
    if scenario.pool.pids() != before:
        scenario.broken.append("a worker ended and had to be started again")


def _make_sick(scenario: Scenario, server: str, proxy: TcpProxy, trouble: Trouble) -> None:
    with scenario.backlog(shares=3 * len(Trouble)):
        scenario.say(f"    {server}: {trouble}, for {scenario.dose.outage_s:.0f} s")
        proxy.trouble(trouble, scenario.draw)
        watch_outage(scenario, f"{server}, {trouble}", work_goes_on=trouble is not Trouble.BLACK_HOLE)
        proxy.heal()
        scenario.struck("the network is well")
    wait_connector(scenario, CONNECTOR_LIMIT_S)
    scenario.pool.settle()
    scenario.note_recovery(f"{server}, {trouble}")
