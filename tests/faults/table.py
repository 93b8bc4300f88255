"""The table of faults, by the numbers of the reliability plan; the lake's rows are in `lake/table.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.faults import broker_faults, failover, network_faults, server_faults, worker_faults
from tests.faults.row import FaultRow
from tests.faults.scenario import Dose, Scenario


@dataclass(frozen=True)
class Row(FaultRow[Scenario]):
    """One fault of the order stream, and settings that the workers get for it.

    `live` says whether the simulated shop works through the fault, `deletes` whether it deletes as well as it changes.
    A row that is deleted while the connector skips a part of the log, to read the tables again, is never heard of.
    With `proxied`, the workers reach Kafka and Redis through proxies. With `clustered`, there are three brokers.
    `short` is a dose for a test that is run each time; by default, it is the quick one.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    live: bool = True
    deletes: bool = True
    proxied: bool = False
    clustered: bool = False
    short: Dose | None = None

    def dose(self, name: str) -> Dose:
        """The dose called `short`, `quick` or `full`."""
        return self.short if name == "short" and self.short is not None else super().dose(name)


TABLE: Final[Mapping[str, Row]] = {
    "0": Row("no fault: base line", worker_faults.nothing, Dose(1, 6_000), Dose(1, 50_000)),
    "1": Row("SIGKILL a random worker", worker_faults.kill, Dose(3, 20_000), Dose(30, 100_000)),
    "2": Row("SIGKILL burst, all workers", worker_faults.kill_burst, Dose(10, 10_000), Dose(30, 50_000)),
    "3": Row("SIGTERM rolling restart", worker_faults.rolling_restart, Dose(1, 6_000), Dose(3, 30_000)),
    "4": Row("SIGSTOP past the session, then CONT", worker_faults.freeze, Dose(3, 6_000), Dose(20, 50_000)),
    "5": Row("workers join and leave", worker_faults.rebalance_storm, Dose(5, 8_000), Dose(20, 50_000)),
    "6": Row("Kafka SIGKILL + restart", server_faults.restart_broker, Dose(1, 6_000), Dose(5, 30_000)),
    "7": Row(
        "network: latency, reset, black hole, slicer",
        network_faults.sick_network,
        Dose(1, 6_000, outage_s=6.0),
        Dose(1, 30_000, outage_s=20.0),
        proxied=True,
    ),
    "8": Row(
        "Redis killed without its data; away",
        server_faults.lose_redis,
        Dose(1, 6_000, outage_s=10.0),
        Dose(5, 30_000, outage_s=60.0),
        {"GUARD_WHEN_AWAY": "wait", "LOCK_RETENTION_S": "1"},
    ),
    "9": Row("RocksDB deleted; moved to an empty disk", worker_faults.lose_disk, Dose(1, 20_000), Dose(3, 100_000)),
    "10": Row(
        "Connect SIGKILL in log and snapshot",
        server_faults.kill_connect,
        Dose(1, 8_000),
        Dose(3, 40_000),
        deletes=False,
    ),
    "11": Row("database SIGKILL + restart", server_faults.restart_database, Dose(1, 6_000), Dose(3, 30_000)),
    "11p": Row("log purged before it was read", server_faults.purge_log, Dose(1, 4_000), Dose(1, 20_000), live=False),
    "12": Row("group reset to earliest", worker_faults.replay_everything, Dose(1, 8_000), Dose(1, 100_000)),
    "14r": Row("no space on a worker's disk", worker_faults.fill_disk, Dose(1, 20_000), Dose(3, 100_000)),
    "15": Row("worker clocks 1 h ahead and behind", worker_faults.shift_clocks, Dose(1, 6_000), Dose(1, 30_000)),
    "18": Row(
        "requests that end transactions come late",
        network_faults.end_late,
        Dose(100, 500),
        Dose(1_000, 5_000),
        {"BATCH_MAX_RECORDS": "50", "FAULTS_BATCH_BYTES": "500"},
        proxied=True,
        short=Dose(5, 500),
    ),
    "19": Row(
        "three brokers: killed, frozen, too few in sync",
        broker_faults.sick_brokers,
        Dose(1, 12_000, outage_s=10.0),
        Dose(5, 60_000, outage_s=60.0),
        clustered=True,
    ),
    "20": Row(
        "source fails over to lower log positions", failover.fail_over, Dose(1, 4_000), Dose(1, 40_000), live=False
    ),
    "23": Row(
        "Connect, Kafka SIGKILL in a snapshot; deletions",
        server_faults.vanish_in_snapshot,
        Dose(1, 8_000),
        Dose(5, 40_000),
    ),
    "R": Row(
        "order_final refuses batches",
        server_faults.refuse_batches,
        Dose(1, 6_000, outage_s=4.0),
        Dose(5, 30_000, outage_s=10.0),
    ),
}
STATE_MACHINE: Final = "17"
"""The row without servers: Hypothesis; see `state_machine.py`."""
