"""The demo of a dataset without complete orders, before its lake: capture, life and faults, and the archive."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from config.definition import Definition
from config.engines import engine_of
from config.settings import ArchiveSettings, KafkaSettings, ObjectStoreSettings
from demo.archived import ArchiveCount, captured
from demo.capture import Capture
from demo.progress import Progress
from demo.proof import ChangesProof
from demo.rows import LIFE_S, DemoRows
from demo.workers import Worker
from ops.database import connected
from ops.dataset.schema import create_schema
from ops.topics import apply_topics
from stack.errors import StackError
from streams.topics import Direction, catalogue_of

KILL_SINKS_S: Final = (3.0, 50.0)
KILL_CONNECT_S: Final = 15.0
KILL_ARCHIVE_S: Final = 40.0
ARCHIVED_LIMIT_S: Final = 180.0
_POLL_S: Final = 1.0


class Killer(Protocol):
    """What the part needs of the demo's servers."""

    def kill(self, server: str) -> float:
        """Kill a server and start it again; return the seconds until it was healthy."""


class Sinks(Protocol):
    """What the part needs of the warehouse and the live figures."""

    def start(self) -> None:
        """Start their workers."""

    def wait_ready(self) -> None:
        """Wait until the workers are ready."""

    def kill(self) -> None:
        """Kill the workers, and start them again."""

    def await_equal(self, proof: ChangesProof) -> None:
        """Wait until they have every change, and add the comparisons to the proof."""

    def stop(self) -> None:
        """Stop the workers."""


class ChangesPart:
    """Capture of a dataset, a simulated life with faults, and the archive, on running servers.

    Args:
        environment: settings with which programs reach the servers.
        archive: the worker of `streams.archive`.
        sinks: the workers of the warehouse and the live figures.
        servers: the demo's servers, of which Connect is killed.
    """

    def __init__(
        self,
        *,
        definition: Definition,
        rows: DemoRows,
        environment: Mapping[str, str],
        archive: Worker,
        sinks: Sinks,
        servers: Killer,
        progress: Progress,
    ) -> None:
        self._definition = definition
        self._rows = rows
        self._database = engine_of(definition).login(environment)
        self._capture = Capture(definition, environment)
        self._kafka = KafkaSettings.read(environment)
        self._archive = archive
        self._sinks = sinks
        self._servers = servers
        self._progress = progress
        settings = ArchiveSettings.read(environment)
        catalogue = catalogue_of(
            definition, app_id=settings.orders_app_id, order_partitions=self._kafka.order_partitions
        )
        self._specs = catalogue
        self._topics = [spec for spec in catalogue if spec.direction is Direction.IN]
        self._archived = ArchiveCount(ObjectStoreSettings.read(environment), settings, self._topics)

    def capture(self, proof: ChangesProof) -> None:
        """Create and load the database, and capture it with a snapshot.

        Raises:
            StackError: a row was rejected, or the connector does not run.
        """
        with self._progress.phase("load", f"load the database {self._definition.database}"):
            proof.rows = self._load()
        with self._progress.phase("snapshot", f"register the connector, and wait for the {proof.rows:,} rows in Kafka"):
            apply_topics(self._kafka, self._specs)
            self._capture.begin()

    def live(self, proof: ChangesProof) -> None:
        """Let the database live while its changes are processed, kill Connect and the workers, and wait for the end.

        Raises:
            StackError: a server or worker did not start again, or changes were not archived in time.
        """
        try:
            self._sinks.start()
            self._start_archive()
            self._sinks.wait_ready()
            text = f"{LIFE_S:.0f} s of inserts, changes and deletions; Connect and all workers are killed"
            with self._progress.phase("life", text):
                proof.operations = self._simulated(proof)
            with self._progress.phase("archive", "wait until every change is in Kafka and in the archive"):
                self._await_archive(proof)
            self._sinks.await_equal(proof)
        finally:
            self._archive.stop()
            self._sinks.stop()

    def _load(self) -> int:
        with connected(self._database) as connection:
            create_schema(connection, self._definition, drop=True)
        self._rows.load(self._database, self._progress.tick)
        with connected(self._database, self._definition.database, self._definition.schema) as connection:
            names = [connection.quoted(table.name) for table in self._definition.tables]
            return sum(int(connection.value(f"SELECT COUNT(*) FROM {name}")) for name in names)  # noqa: S608

    def _start_archive(self) -> None:
        self._archive.start()
        self._archive.wait_ready()

    def _simulated(self, proof: ChangesProof) -> str:
        """Simulate in a thread, as the servers and the worker end with the thread that starts them."""
        stop, began = threading.Event(), time.monotonic()
        with ThreadPoolExecutor(1, "life") as pool:
            life = pool.submit(self._rows.live, self._database, stop)
            try:
                _wait(life, began + KILL_SINKS_S[0])
                self._sinks.kill()
                _wait(life, began + KILL_CONNECT_S)
                self._progress.note("kill Connect (SIGKILL), and start it again")
                proof.connect_away_s = round(self._servers.kill("connect"), 1)
                _wait(life, began + KILL_ARCHIVE_S)
                self._progress.note("kill the archive worker (SIGKILL), and start it again")
                killed = time.monotonic()
                self._archive.kill()
                self._start_archive()
                proof.archive_away_s = round(time.monotonic() - killed, 1)
                _wait(life, began + KILL_SINKS_S[1])
                self._sinks.kill()
                return life.result()
            finally:
                stop.set()

    def _await_archive(self, proof: ChangesProof) -> None:
        self._capture.await_published()
        proof.captured = captured(self._kafka.bootstrap, self._topics)
        deadline = time.monotonic() + ARCHIVED_LIMIT_S
        while (done := self._archived.records()) < proof.captured:
            if not self._archive.is_running() or time.monotonic() > deadline:
                raise StackError(f"only {done:,} of {proof.captured:,} changes were archived: see {self._archive.log}")
            time.sleep(_POLL_S)
        proof.archived = done
        if self._definition.raw_records is not None:
            proof.raw = f"processed-data/{self._definition.raw_records}"


def _wait(life: Future[str], until: float) -> None:
    """Wait until a monotonic time; a simulation that has failed meanwhile raises its error."""
    while time.monotonic() < until:
        if life.done():
            life.result()
        time.sleep(_POLL_S)
