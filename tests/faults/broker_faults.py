"""Faults of a cluster of three brokers: row 19.

A killed broker counts as alive until its session ends (9 s): until then its partitions have no other leader, and the
followers that it was still count as in sync, so that no write is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported silently
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streams.topics import MIN_INSYNC_REPLICAS, ORDER_FINAL, order_state_changelog
from tests.faults.cluster import MIN_INSYNC, NODES, REPLICAS, Cluster
from tests.faults.measured import watch_outage
from tests.faults.scenario import Scenario
from tests.faults.testbed import PARTITIONS
from tests.faults.watching import wait_connector, watching
from tests.support.kafka import ANSWER_S, admin

FAULTS: Final = 6
SETTLE_LIMIT_S: Final = 120.0


def sick_brokers(scenario: Scenario) -> None:
    """Kill the leader of a partition, a follower, the group's coordinator and the active controller, each under load;
    then let two of three brokers freeze, and a topic require more replicas than are in sync.
    """
    cluster = Cluster(scenario.testbed.stack)
    before = scenario.pool.pids()
    with watching(scenario):
        for _ in range(scenario.dose.times):
            leader = cluster.leader(ORDER_FINAL, scenario.draw.randrange(PARTITIONS))
            _fail_over(scenario, cluster, leader, "leader")
            # A broker that has come back leads nothing for minutes.
            _fail_over(scenario, cluster, leader, "follower")
            _bounce(scenario, cluster, cluster.coordinator(scenario.testbed.app_id()), "coordinator")
            _bounce(scenario, cluster, cluster.controller(), "controller")
            _freeze_majority(scenario, cluster)
            _require_all_replicas(scenario, cluster)
    if scenario.pool.pids() != before:
        scenario.broken.append("a worker ended and had to be started again")
    producers = scenario.pool.figures().producers
    scenario.notes["producers"] = producers
    if producers > PARTITIONS:
        scenario.broken.append(f"{producers} producers are running for {PARTITIONS} partitions")


def _fail_over(scenario: Scenario, cluster: Cluster, node: str, part: str) -> None:
    """Kill a node, and start it again only when every partition has gone on without it."""
    with scenario.backlog(shares=FAULTS * scenario.dose.times):
        scenario.testbed.kill(node)
        scenario.struck(f"killed {node}, the {part}")
        scenario.note_recovery(f"without the {part}")
        scenario.testbed.stack.start(node)
    _recover(scenario, cluster)


def _bounce(scenario: Scenario, cluster: Cluster, node: str, part: str) -> None:
    """Kill a node, and start it again a moment later."""
    with scenario.backlog(shares=FAULTS * scenario.dose.times):
        scenario.testbed.kill(node)
        scenario.struck(f"killed {node}, the {part}")
        scenario.pause(0.5, 3.0)
        scenario.testbed.stack.start(node)
    _recover(scenario, cluster, part)


def _freeze_majority(scenario: Scenario, cluster: Cluster) -> None:
    """Freeze two of three nodes: nothing can be written, and nobody can be elected."""
    frozen = scenario.draw.sample(list(NODES), 2)
    with scenario.backlog(shares=FAULTS * scenario.dose.times):
        for node in frozen:
            scenario.testbed.stack.pause(node)
        scenario.say(f"    froze {' and '.join(frozen)} for {scenario.dose.outage_s:.0f} s")
        try:
            watch_outage(scenario, "frozen")
        finally:
            for node in frozen:
                scenario.testbed.stack.resume(node)
        scenario.struck("both go on")
    _recover(scenario, cluster, "frozen")


def _require_all_replicas(scenario: Scenario, cluster: Cluster) -> None:
    """Kill a node while outputs and changelog require all three replicas: the others refuse every write."""
    topics = (ORDER_FINAL, order_state_changelog(scenario.testbed.app_id()))
    node = scenario.draw.choice(list(NODES))
    with scenario.backlog(shares=FAULTS * scenario.dose.times), _min_insync(scenario, REPLICAS, *topics):
        scenario.testbed.kill(node)
        scenario.say(f"    killed {node} while writes need all replicas, for {scenario.dose.outage_s:.0f} s")
        watch_outage(scenario, "refused")
        scenario.testbed.stack.start(node)
        scenario.struck("it is back")
    _recover(scenario, cluster, "refused")


@contextmanager
def _min_insync(scenario: Scenario, replicas: int, *topics: str) -> Iterator[None]:
    _set_min_insync(scenario, replicas, *topics)
    try:
        yield
    finally:
        _set_min_insync(scenario, MIN_INSYNC, *topics)


def _set_min_insync(scenario: Scenario, replicas: int, *topics: str) -> None:
    entry = ConfigEntry(MIN_INSYNC_REPLICAS, str(replicas), incremental_operation=AlterConfigOpType.SET)
    resources = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry]) for topic in topics]
    client = admin(scenario.testbed.kafka.bootstrap)
    for answer in client.incremental_alter_configs(resources, request_timeout=ANSWER_S).values():
        answer.result(ANSWER_S)


def _recover(scenario: Scenario, cluster: Cluster, part: str | None = None) -> None:
    """Wait until replicas, connector and workers are as before; nothing is done for that, but for the watch."""
    cluster.wait_in_sync()
    wait_connector(scenario, SETTLE_LIMIT_S)
    scenario.pool.settle(SETTLE_LIMIT_S)
    if part is not None:
        scenario.note_recovery(part)
