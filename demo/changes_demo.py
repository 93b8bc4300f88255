"""The demo of a dataset without complete orders: its changes from capture to the lake, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from config.definition import Definition, ShopGenerator
from config.settings import DatasetSettings
from demo.changes import KILL_ARCHIVE_S, KILL_CONNECT_S, KILL_SINKS_S, LIFE_RATE_PER_S, LIFE_S, ChangesPart
from demo.interruption import Interruption
from demo.lake import LakePart
from demo.orders_demo import ARCHIVE_SETTINGS
from demo.progress import CHANGES_MEASURED_S, Progress, duration
from demo.proof import ChangesProof
from demo.run import run_changes
from demo.servers import Servers, lake_programs
from demo.sinks import SinksPart
from demo.workers import Worker
from ops.dataset.generator.plan import Plan
from stack.local import Stack
from stack.ports import free_ports

PLAN: Final = """\
Millrace demo of the dataset `{name}`: every change of its PostgreSQL database, captured, archived, counted and refined,
although servers and workers are killed; warehouse and lake equal the database. On this machine, in about {total}:

  1. start PostgreSQL, Kafka, Kafka Connect with Debezium and Redis (downloaded once, on separate ports); meanwhile
     MinIO is built and Spark's jars are downloaded in the background, if they are not there yet;
  2. create the database; load {customers:,} customers, {products:,} products, {orders:,} orders with {lines:,} items;
     create the topics, register the Debezium connector, and wait for the end of its snapshot;
  3. start MinIO, and archive every change there; write it to the warehouse, a star schema in PostgreSQL, and count it
     in Redis for live figures;
  4. simulate {life:.0f} s of life, {rate:.0f} inserts, changes and deletions per second; in it, kill (SIGKILL) and
     start again: Connect after {connect:.0f} s, the archive's worker after {archive:.0f} s, the others after {sinks};
  5. wait until every change is in Kafka and in the archive, and count both; compare the warehouse with the database in
     SQL, and the figures with SQL over a history that triggers keep in the database;
  6. fill the lake from the archive with Spark: Bronze and Silver of {tables};
  7. compare the lake with the database, row by row, and print the proof ({proof}).
"""

KEPT: Final = """\
the servers are still running. To look around:
  . .venv/bin/activate
  eval "$(millrace env --name {stack})"; export DATASET={name}
  millrace connector status
  millrace dataset simulate --rate 50
  millrace worker warehouse --web-port 6072          # and in other shells:
  millrace worker archive --web-port 6071            # millrace warehouse check
  millrace lake run --every 10s                      # millrace lake show {table}
to stop them and delete their data: millrace reset --name {stack}"""


class ChangesDemo:
    """The demo of a dataset on PostgreSQL that completes no orders.

    Args:
        folder: folder for the worker's data and all logs.
    """

    measured_s = CHANGES_MEASURED_S

    def __init__(self, definition: Definition, plan: Plan, folder: Path) -> None:
        self._definition = definition
        self._plan = plan
        self._folder = folder

    def plan_text(self, total_s: float, proof: str) -> str:
        """Describe what the demo will do; `proof` names the file of its result."""
        *others, last = (table.name for table in self._definition.tables)
        return PLAN.format(
            name=self._definition.name,
            total=duration(total_s),
            orders=self._plan.orders,
            lines=self._plan.order_details,
            products=self._generator.products,
            customers=self._plan.customers,
            life=LIFE_S,
            rate=LIFE_RATE_PER_S,
            connect=KILL_CONNECT_S,
            archive=KILL_ARCHIVE_S,
            sinks=" and ".join(f"{second:.0f} s" for second in KILL_SINKS_S),
            tables=f"{', '.join(others)} and {last}" if others else last,
            proof=proof,
        )

    @property
    def _generator(self) -> ShopGenerator:
        assert isinstance(self._definition.generator, ShopGenerator)
        return self._definition.generator

    def kept_text(self, stack: str) -> str:
        """Describe what can be done with the servers of a stack that goes on."""
        return KEPT.format(stack=stack, name=self._definition.name, table=self._definition.tables[0].name)

    def run(
        self, stack: Stack, progress: Progress, interruption: Interruption, save: Callable[[ChangesProof], None]
    ) -> ChangesProof:
        """Run the demo on the servers of a stack, which are started.

        Raises:
            StackError: a server could not be started, or changes were not captured or archived.
        """
        environment = stack.environment() | ARCHIVE_SETTINGS | {"DATASET": self._definition.name}
        datasets = DatasetSettings.read().datasets_folder
        if datasets is not None:
            environment["DATASETS_DIR"] = str(datasets)
        archive = Worker(
            web_port=free_ports(["archive"])["archive"],
            environment=environment,
            folder=self._folder / "archive",
            application="streams.archive",
        )
        definition, programs = self._definition, lake_programs(stack.site.cache)
        sinks = SinksPart(definition=definition, environment=environment, folder=self._folder, progress=progress)
        lake = LakePart(definition=definition, environment=environment, logs=self._folder / "logs", progress=progress)
        with Servers(stack, progress, interruption, background=programs, engine=definition.engine) as servers:
            changes = ChangesPart(
                definition=definition,
                plan=self._plan,
                environment=environment,
                archive=archive,
                sinks=sinks,
                servers=servers,
                progress=progress,
            )
            return run_changes(servers=servers, changes=changes, lake=lake, progress=progress, save=save)
