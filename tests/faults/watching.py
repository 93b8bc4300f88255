"""The watch over the connector, as an operator runs it beside the workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ops.connector.apply import is_running
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name
from ops.connector.sweep import SweptTable, sweep
from ops.connector.watch import ConnectorWatch
from tests.faults.fault_shop import DATASET
from tests.faults.scenario import Scenario

LOOK_S: Final = 1.0


class Watched:
    """A watch in a thread.

    Attributes:
        gone: number of rows that the sweeps have deleted.
        looks: number of looks so far.
    """

    def __init__(self, scenario: Scenario, connect: ConnectClient, *, is_swept: bool) -> None:
        self.gone = self.looks = 0
        self.watch = ConnectorWatch(
            connect, connector_name(DATASET), sweep=self._sweep, say=lambda line: scenario.say(f"    watch: {line}")
        )
        self._scenario = scenario
        self._is_swept = is_swept
        self._is_over = threading.Event()

    def _sweep(self) -> Iterator[SweptTable]:
        testbed = self._scenario.testbed
        if not self._is_swept:
            return
        # Topics that were emptied for this scenario may have got old rows back from a killed broker.
        for table in sweep(testbed.database, testbed.kafka.bootstrap, testbed.definition, is_forced=True):
            self.gone += table.gone
            yield table

    def look_on(self) -> None:
        """Look every second until the watch is over."""
        try:
            while not self._is_over.wait(LOOK_S):
                self.watch.look()
                self.looks += 1
        except Exception as error:
            self._scenario.broken.append(f"the watch failed: {error!r}")
            raise

    def wait_swept(self, limit_s: float) -> None:
        """Wait until all that has happened so far was looked at and swept."""
        looks = self.looks
        self._scenario.pool.until(
            lambda: self.looks >= looks + 2 and not self.watch.is_sweep_due, "a sweep follows", limit_s
        )

    def end(self) -> None:
        """End the watch after the present look."""
        self._is_over.set()


@contextmanager
def watching(scenario: Scenario, *, is_swept: bool = True) -> Iterator[Watched]:
    """Watch the connector while the body runs; without `is_swept`, sweeps do nothing."""
    with ConnectClient(scenario.testbed.connect.url) as connect:
        watched = Watched(scenario, connect, is_swept=is_swept)
        thread = threading.Thread(target=watched.look_on, name="watch", daemon=True)
        thread.start()
        try:
            yield watched
        finally:
            watched.end()
            thread.join()
            watched.watch.close()


def wait_connector(scenario: Scenario, limit_s: float) -> None:
    """Wait until the connector runs, also if its task has failed: the watch starts it again."""
    with ConnectClient(scenario.testbed.connect.url) as connect:
        scenario.pool.until(
            lambda: is_running(connect.status(connector_name(DATASET))), "the connector runs again", limit_s
        )
