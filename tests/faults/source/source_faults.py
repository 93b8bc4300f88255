"""Faults of a PostgreSQL source, each followed by what an operator does about it."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from ops.cli import main
from ops.connector.apply import stop_connector, wait_running
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name
from stack.site import REPOSITORY
from tests.faults.source.testbed import SourceScenario
from tests.support.postgres_source import change_across_the_snapshot, wait_for

ROWS: Final = 8_000
HALF_BYTES: Final = 950
"""Half the size of a row. Four such rows fit a page, and the rows of a page have one place in the log."""


def kill_connect_in_copy(scenario: SourceScenario) -> None:
    """Kill Connect while it publishes a COPY of wide rows; the watch beside it finds the rows that the connector loses.

    Debezium 3.7.0 goes on behind a group of rows with one place in the log if it had published one of them.
    """

    def kill() -> None:
        scenario.testbed.stack.kill("connect")
        scenario.testbed.stack.up()

    _interrupt_copies(scenario, kill)


def restart_task_in_copy(scenario: SourceScenario) -> None:
    """Stop and start the connector's task, as an operator does, while it publishes a COPY of wide rows."""
    name = connector_name(scenario.source.name)

    def restart() -> None:
        with ConnectClient(scenario.testbed.stack.environment()["CONNECT_URL"]) as connect:
            stop_connector(connect, name)
            connect.resume(name)
            wait_running(connect, name)

    _interrupt_copies(scenario, restart)


def _interrupt_copies(scenario: SourceScenario, interrupt: Callable[[], None]) -> None:
    """Interrupt the connector in one COPY after the other, while the watch runs beside it."""
    _expect_success(scenario, "connector", "apply", "--wait-snapshot")
    found: list[str] = []
    with _watched(scenario, found):
        for number in range(scenario.dose.times):
            before = scenario.arrived()
            _copy(scenario, first=1 + number * ROWS)
            some = before + scenario.draw.randrange(1, ROWS // 2)
            wait_for(lambda some=some: scenario.arrived() > some)  # type: ignore[misc]
            interrupt()
            scenario.until_caught_up()
        wait_for(lambda: scenario.source.by_position().keys() == scenario.source.rows().keys())
    scenario.notes["rows that the connector lost, as the watch says"] = found


@contextmanager
def _watched(scenario: SourceScenario, found: list[str]) -> Iterator[None]:
    """Run `millrace connector watch`; its lines about missing rows go to `found`."""
    command = [sys.executable, "-m", "ops.cli", "connector", "watch"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as watch:
        assert watch.stdout is not None
        lines = watch.stdout

        def listen() -> None:
            for line in lines:
                if "not in the topic" in line:
                    found.append(line.partition(";")[0])
                    scenario.say(f"  watch: {found[-1]}")

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield
        finally:
            watch.terminate()
            listener.join()


def kill_database(scenario: SourceScenario) -> None:
    """Kill PostgreSQL while rows are written; the connector goes on by itself."""
    stack = scenario.testbed.stack
    _expect_success(scenario, "connector", "apply", "--wait-snapshot")
    stop = threading.Event()
    writer = threading.Thread(target=_write, args=(scenario, stop))
    writer.start()
    try:
        for _ in range(scenario.dose.times):
            time.sleep(scenario.draw.uniform(1.0, 2.0))
            stack.kill("postgres")
            stack.up()
        time.sleep(1.0)
    finally:
        stop.set()
        writer.join()


def drop_slot(scenario: SourceScenario) -> None:
    """Drop the slot of a stopped connector, with a change behind it."""
    _lose_place(scenario, "SELECT pg_drop_replication_slot(%s)")


def advance_slot(scenario: SourceScenario) -> None:
    """Move the slot of a stopped connector over a change, as a second reader would."""
    _lose_place(scenario, "SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())")


def open_across_snapshot(scenario: SourceScenario) -> None:
    """Let a transaction that changes a row be open while the snapshot reads the row."""
    change_across_the_snapshot(scenario.source)
    scenario.expect(scenario.source.rows() == {1: "open", 2: "read", 3: "second"}, "the fault itself did not happen")


def _lose_place(scenario: SourceScenario, statement: str) -> None:
    source = scenario.source
    source.run("INSERT INTO customers SELECT n, 'a' FROM generate_series(1, 100) AS n")
    _expect_success(scenario, "connector", "apply", "--wait-snapshot")
    source.stop_connector()
    source.run("UPDATE customers SET email = 'lost' WHERE id <= 50")
    source.run("DELETE FROM customers WHERE id > 90")
    source.run(statement, source.slot)
    scenario.expect(main(["connector", "apply"]) == 1, "a connector that leaves a gap was started")
    _begin_epoch(scenario)


def _begin_epoch(scenario: SourceScenario) -> None:
    _expect_success(scenario, "connector", "epoch", "begin", "--wait-snapshot")
    _expect_success(scenario, "connector", "sweep")


def _expect_success(scenario: SourceScenario, *command: str) -> None:
    scenario.expect(main(list(command)) == 0, f"millrace {' '.join(command)} failed")


def _copy(scenario: SourceScenario, *, first: int) -> None:
    """Load rows as a foreign client does."""
    load = "COPY customers (id, email) FROM STDIN"
    with scenario.source.connect() as connection, connection.cursor() as cursor, cursor.copy(load) as copy:
        for number in range(first, first + ROWS):
            copy.write_row((number, secrets.token_hex(HALF_BYTES)))


def _write(scenario: SourceScenario, stop: threading.Event) -> None:
    """Insert, change and delete rows, over all interruptions."""
    number = 0
    while not stop.is_set():
        try:
            with scenario.source.connect() as connection:
                while not stop.is_set():
                    number += 1
                    connection.execute("INSERT INTO customers VALUES (%s, 'new') ON CONFLICT DO NOTHING", (number,))
                    connection.execute("UPDATE customers SET email = 'old' WHERE id = %s", (number - 3,))
                    connection.execute("DELETE FROM customers WHERE id = %s AND id %% 5 = 0", (number - 6,))
                    time.sleep(0.005)
        except psycopg.Error:
            time.sleep(0.05)
