"""The warehouse and the live figures in the demo: their workers are killed, and what they keep is compared in SQL."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from config.database_settings import PostgresSettings, WarehouseDatabaseSettings
from config.definition import Definition
from config.settings import RedisSettings
from demo.history import History, figures_in_redis
from demo.progress import Progress
from demo.proof import ChangesProof
from demo.sinks_proof import FiguresProof, WarehouseProof
from demo.workers import Worker
from ops.database import connected
from ops.warehouse.check import compared
from ops.warehouse.commands import apply_warehouse
from ops.warehouse.place import tables_of
from stack.errors import StackError
from stack.ports import free_ports
from streams.model.warehouse import warehouse_tables

APPLICATIONS: Final = ("warehouse", "metrics")
EQUAL_LIMIT_S: Final = 120.0
_POLL_S: Final = 1.0


def has_sinks(definition: Definition) -> bool:
    """Whether the definition says what goes into the warehouse, and which figures there are."""
    return bool(warehouse_tables(definition.tables)) and definition.metrics.orders is not None


class NoSinks:
    """In place of `SinksPart` for a dataset that has none."""

    def start(self) -> None:
        """Do nothing."""

    def wait_ready(self) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Do nothing."""

    def await_equal(self, proof: ChangesProof) -> None:
        """Note that there is nothing to compare."""
        proof.warehouse = proof.figures = None

    def stop(self) -> None:
        """Do nothing."""


class SinksPart:
    """The workers of `streams.warehouse` and `streams.metrics`, on running servers.

    Args:
        environment: settings with which programs reach the servers.
        folder: folder for the workers' data and logs.
    """

    def __init__(
        self, *, definition: Definition, environment: Mapping[str, str], folder: Path, progress: Progress
    ) -> None:
        self._definition = definition
        self._source = PostgresSettings.read(environment)
        self._warehouse = WarehouseDatabaseSettings.read(environment)
        self._redis = RedisSettings.read(environment)
        self._progress = progress
        self._history = History(definition)
        self._kills: Counter[str] = Counter()
        ports = free_ports(APPLICATIONS)
        self._workers = {
            name: Worker(
                web_port=ports[name], environment=environment, folder=folder / name, application=f"streams.{name}"
            )
            for name in APPLICATIONS
        }

    def start(self) -> None:
        """Create the warehouse's tables and the source's history, and start the workers.

        Raises:
            StackError: a worker did not start, or a table is not as the definition says.
        """
        apply_warehouse(self._definition, self._warehouse)
        with connected(self._source, self._definition.database, self._definition.schema) as connection:
            self._history.begin(connection)
        for worker in self._workers.values():
            worker.start()

    def wait_ready(self) -> None:
        """Wait until the workers are ready."""
        for worker in self._workers.values():
            worker.wait_ready()

    def kill(self) -> None:
        """Kill both workers (SIGKILL), and start them again; they go on by themselves."""
        self._progress.note("kill the warehouse's and the figures' workers (SIGKILL), and start them again")
        for name, worker in self._workers.items():
            worker.kill()
            worker.start()
            self._kills[name] += 1

    def await_equal(self, proof: ChangesProof) -> None:
        """Wait until the warehouse has the source's rows, and the figures are those of its history; compare them.

        What still differs after the time limit is in the proof, which then fails.

        Raises:
            StackError: a worker has ended.
        """
        with self._progress.phase("warehouse", "wait until the warehouse is the database, and the figures its history"):
            deadline = time.monotonic() + EQUAL_LIMIT_S
            while True:
                proof.warehouse, proof.figures = self._warehouse_proof(), self._figures_proof()
                if (proof.warehouse.is_equal and proof.figures.is_equal) or time.monotonic() > deadline:
                    return
                for worker in self._workers.values():
                    if not worker.is_running():
                        raise StackError(f"a worker has ended: see {worker.log}")
                time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop the workers."""
        for worker in self._workers.values():
            worker.stop()

    def _warehouse_proof(self) -> WarehouseProof:
        definition, settings = self._definition, self._warehouse
        with (
            connected(self._source, definition.database, definition.schema) as source,
            connected(settings, settings.database, definition.name) as warehouse,
        ):
            found = compared(source, warehouse, tables_of(definition))
        proof = WarehouseProof(kills=self._kills["warehouse"])
        for each in found:
            proof.rows[each.table] = (each.source.rows, each.warehouse.rows)
            proof.checksums[each.table] = (each.source.text, each.warehouse.text)
            proof.equal[each.table] = each.is_equal
        return proof

    def _figures_proof(self) -> FiguresProof:
        with connected(self._source, self._definition.database, self._definition.schema) as connection:
            expected = self._history.figures(connection)
        found = figures_in_redis(self._redis.url, [table.name for table in self._definition.tables])
        return FiguresProof(kills=self._kills["metrics"], expected=expected, found=found)
