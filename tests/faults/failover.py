"""Row 20: the source fails over to another server, whose log begins with lower file numbers."""

from __future__ import annotations

import time
from typing import Final

import requests

from ops.connector.epochs import begin_epoch, begun_epoch, next_epoch
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name
from ops.connector.sweep import sweep
from stack.servers import mariadb
from tests.faults.fault_shop import DATASET
from tests.faults.scenario import Scenario
from tests.faults.server_faults import as_root
from tests.faults.testbed import PARTITIONS
from tests.faults.worker_faults import replay_everything

ROTATIONS: Final = 20
GONE: Final = 15
STOP_LIMIT_S: Final = 90.0
LIVE_S: Final = 3.0


def fail_over(scenario: Scenario) -> None:
    """Continue on another server, first with the wrong remedy, then with the right one.

    A snapshot within the epoch has to stop every partition loudly. After a new epoch has begun, they go on by
    themselves; a sweep deletes the rows that the new server lacks; at last all changes of both servers come again.
    """
    testbed = scenario.testbed
    for _ in range(ROTATIONS):
        as_root(scenario, "FLUSH BINARY LOGS")
    scenario.shop.surge(scenario.dose.orders // 2)
    scenario.shop.wait_captured()
    scenario.pool.settle()
    _another_server(scenario)
    _forget_place(scenario)
    scenario.shop.wait_captured(streamed=True)
    scenario.pool.until(lambda: len(_stopped(scenario)) == PARTITIONS, "every partition stops", STOP_LIMIT_S)
    scenario.notes["stopped"] = _stopped(scenario)[0]
    scenario.say(f"    a partition says: {scenario.notes['stopped'][:200]}")
    scenario.shop.surge(scenario.dose.orders // 4)
    bootstrap = testbed.kafka.bootstrap
    testbed.epoch = next_epoch(begun_epoch(bootstrap, DATASET), None)
    begin_epoch(bootstrap, DATASET, testbed.epoch)
    testbed.capture()
    scenario.struck(f"began epoch {testbed.epoch}")
    scenario.shop.wait_captured(streamed=True)
    scenario.pool.settle(STOP_LIMIT_S)
    swept = {table.table: table.gone for table in sweep(testbed.database, bootstrap, testbed.definition)}
    scenario.say(f"    swept: {swept}")
    with scenario.shop.live():
        time.sleep(LIVE_S)
    scenario.shop.wait_captured()
    scenario.pool.settle()
    replay_everything(scenario)


def _another_server(scenario: Scenario) -> None:
    """Replace the database by a server with its files but another id and a new log; some rows are gone."""
    stack = scenario.testbed.stack
    stack.down(only=["mariadb"])
    for file in stack.site.data("mariadb").glob("binlog.*"):
        file.unlink()
    mariadb._SERVER_ID += 1
    stack.start("mariadb")
    for table in ("orders", "order_details"):
        statement = f"DELETE FROM {DATASET}.{table} LIMIT {GONE}"  # noqa: S608 - constants
        as_root(scenario, f"SET sql_log_bin = 0; {statement}")
    name = as_root(scenario, "SHOW MASTER STATUS").split()[0]
    scenario.struck(f"failed over to server {mariadb._SERVER_ID}, whose log is at {name}")


def _forget_place(scenario: Scenario) -> None:
    """Let the connector read the new server from its beginning, without a new epoch: the wrong remedy."""
    url, name = scenario.testbed.connect.url, connector_name(DATASET)
    deadline = time.monotonic() + STOP_LIMIT_S
    with ConnectClient(url) as connect:
        connect.stop(name)
        while not (answer := requests.delete(f"{url}/connectors/{name}/offsets", timeout=30)).ok:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Connect did not delete the offsets of {name}: {answer.text}")
            time.sleep(0.5)
        connect.resume(name)
    scenario.struck("the connector reads all tables again, in the same epoch")


def _stopped(scenario: Scenario) -> list[str]:
    """The errors of the partitions that have stopped at a change of an unknown origin."""
    found = []
    for worker in scenario.pool.workers:
        stats = worker.stats() if worker.is_running() else None
        errors = [] if stats is None else [str(each["error"]) for each in stats["partitions"].values()]
        found += [error for error in errors if "UnknownOriginError" in error]
    return found
