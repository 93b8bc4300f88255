"""Row 20: the source fails over to another server, whose log begins with lower file numbers."""

from __future__ import annotations

import time
from typing import Final

from ops.connector.apply import apply_connector
from ops.connector.epochs import begin_epoch, begun_epoch, next_epoch
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name, connector_settings
from ops.connector.sweep import sweep
from stack.servers import mariadb
from tests.faults.fault_shop import DATASET
from tests.faults.scenario import Scenario
from tests.faults.server_faults import as_root
from tests.faults.testbed import PARTITIONS
from tests.faults.worker_faults import replay_everything

ROTATIONS: Final = 20
GONE: Final = 15
OTHER: Final = f"{connector_name(DATASET)}-again"
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
    _read_again(scenario)
    scenario.shop.wait_captured(streamed=True)
    _check_all_stop(scenario)
    scenario.shop.surge(scenario.dose.orders // 4)
    _begin_epoch(scenario)
    scenario.shop.wait_captured(streamed=True)
    scenario.pool.settle(STOP_LIMIT_S)
    tables = sweep(testbed.database, testbed.kafka.bootstrap, testbed.definition)
    swept = {table.table: table.gone for table in tables}
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
    # Debezium cannot follow a log from its very beginning, where no transaction has a GTID yet.
    table = f"{DATASET}.payment_method"
    as_root(scenario, f"INSERT INTO {table} SELECT MAX(id) + 1, 'first', 'none' FROM {table}")  # noqa: S608 - constants
    name = as_root(scenario, "SHOW MASTER STATUS").split()[0]
    scenario.struck(f"failed over to server {mariadb._SERVER_ID}, whose log is at {name}")


def _read_again(scenario: Scenario) -> None:
    """Let another connector read the new server from its beginning, without a new epoch: the wrong remedy."""
    testbed = scenario.testbed
    with ConnectClient(testbed.connect.url) as connect:
        connect.delete(connector_name(DATASET))
        apply_connector(connect, OTHER, connector_settings(testbed.definition, testbed.connect, epoch=testbed.epoch))
    scenario.struck("another connector reads all tables again, in the same epoch")


def _begin_epoch(scenario: Scenario) -> None:
    """Begin an epoch: the right remedy."""
    testbed = scenario.testbed
    bootstrap = testbed.kafka.bootstrap
    with ConnectClient(testbed.connect.url) as connect:
        connect.delete(OTHER)
    testbed.epoch = next_epoch(begun_epoch(bootstrap, DATASET), None)
    begin_epoch(bootstrap, DATASET, testbed.epoch)
    testbed.capture()
    scenario.struck(f"began epoch {testbed.epoch}")


def _check_all_stop(scenario: Scenario) -> None:
    """Wait until every partition says why it does not go on; without the safeguard, none ever does."""
    try:
        scenario.pool.until(lambda: len(_stopped(scenario)) == PARTITIONS, "every partition stops", STOP_LIMIT_S)
    except TimeoutError as error:
        scenario.broken.append(str(error))
        return
    scenario.notes["stopped"] = _stopped(scenario)[0]
    scenario.say(f"    a partition says: {scenario.notes['stopped'][:200]}")


def _stopped(scenario: Scenario) -> list[str]:
    """The errors of the partitions that have stopped at a change of an unknown origin."""
    found = []
    for worker in scenario.pool.workers:
        stats = worker.stats() if worker.is_running() else None
        errors = [] if stats is None else [str(each["error"]) for each in stats["partitions"].values()]
        found += [error for error in errors if "UnknownOriginError" in error]
    return found
