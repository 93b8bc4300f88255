"""The demo of a dataset without complete orders: its changes from capture to the lake, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from config.definition import Definition
from config.lake_names import lake_name
from config.settings import DatasetSettings
from demo.changes import KILL_ARCHIVE_S, KILL_CONNECT_S, KILL_SINKS_S, ChangesPart, Sinks
from demo.interruption import Interruption
from demo.lake import LakePart
from demo.orders_demo import ARCHIVE_SETTINGS
from demo.progress import CHANGES_MEASURED_S, Progress, duration
from demo.proof import ChangesProof
from demo.rows import LIFE_S, DemoRows
from demo.run import run_changes
from demo.servers import SHOWN, Servers, lake_programs
from demo.sinks import NoSinks, SinksPart, has_sinks
from demo.workers import Worker
from stack.local import Stack
from stack.ports import free_ports
from stack.servers import SOURCES

PLAN: Final = """\
Millrace demo of the dataset `{name}`: every change of its {database} database, captured, archived{counted} and refined,
although servers and workers are killed; {proven}. On real servers, on this machine, in about
{total}:

  1. start {database}, Kafka, Kafka Connect with Debezium and Redis (downloaded once, on separate ports); meanwhile
     MinIO is built and Spark's jars are downloaded in the background, if they are not there yet;
  2. create the database; load
     {loaded};
     create the topics, register the Debezium connector, and wait for the end of its snapshot;
  3. start MinIO, and archive every change there{written};
  4. {life:.0f} s of life: {rows};
     in it, kill (SIGKILL) and start again:
     Connect after {connect:.0f} s, the archive worker after {archive:.0f} s{killed};
  5. wait until every change is in Kafka and in the archive, and count both{compared};
  6. fill the lake from the archive with Spark: Bronze, Silver and Gold of
     {tables};
  7. compare the lake with the database, row by row, and print the proof ({proof}).
"""
WITH_SINKS: Final = {
    "counted": ", counted",
    "proven": "warehouse and lake equal the database",
    "written": """; write it to the warehouse, a star schema in
     PostgreSQL, and count it in Redis for live figures""",
    "killed": f", the others after {' and '.join(f'{second:.0f} s' for second in KILL_SINKS_S)}",
    "compared": """; compare the warehouse with the
     database in SQL, and the figures with SQL over a history that triggers keep in the database""",
}
WITHOUT_SINKS: Final = {**dict.fromkeys(WITH_SINKS, ""), "proven": "and a lake that equals the database"}

KEPT: Final = """\
the servers are still running. To look around:
  . .venv/bin/activate
  eval "$(millrace env --name {stack})"; export DATASET={name}
  millrace connector status
  {command}
  millrace worker archive --web-port 6071            # and in another shell:
  millrace lake run --every 10s                      # millrace lake show {table}
to stop them and delete their data: millrace reset --name {stack}"""


class ChangesDemo:
    """The demo of a dataset that completes no orders.

    Args:
        folder: folder for the worker's data and all logs.
    """

    def __init__(self, definition: Definition, rows: DemoRows, folder: Path) -> None:
        self._definition = definition
        self._rows = rows
        self._folder = folder
        self._has_sinks = has_sinks(definition)

    @property
    def measured_s(self) -> Mapping[str, float]:
        """The phases with their measured seconds."""
        return {name: s for name, s in CHANGES_MEASURED_S.items() if self._has_sinks or name != "warehouse"}

    def plan_text(self, total_s: float, proof: str) -> str:
        """Describe what the demo will do; `proof` names the file of its result."""
        *others, last = (table.name for table in self._definition.tables)
        return PLAN.format(
            name=self._definition.name,
            total=duration(total_s),
            loaded=self._rows.loaded_text,
            database=SHOWN[SOURCES[self._definition.engine]],
            life=LIFE_S,
            rows=self._rows.life_text,
            connect=KILL_CONNECT_S,
            archive=KILL_ARCHIVE_S,
            **(WITH_SINKS if self._has_sinks else WITHOUT_SINKS),
            tables=f"{', '.join(others)} and {last}" if others else last,
            proof=proof,
        )

    def kept_text(self, stack: str) -> str:
        """Describe what can be done with the servers of a stack that goes on."""
        return KEPT.format(
            stack=stack,
            name=self._definition.name,
            table=lake_name(self._definition.tables[0].name),
            command=self._rows.command,
        )

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
        sinks: Sinks = NoSinks()
        if self._has_sinks:
            sinks = SinksPart(definition=definition, environment=environment, folder=self._folder, progress=progress)
        lake = LakePart(definition=definition, environment=environment, logs=self._folder / "logs", progress=progress)
        with Servers(stack, progress, interruption, background=programs, engine=definition.engine) as servers:
            changes = ChangesPart(
                definition=definition,
                rows=self._rows,
                environment=environment,
                archive=archive,
                sinks=sinks,
                servers=servers,
                progress=progress,
            )
            return run_changes(servers=servers, changes=changes, lake=lake, progress=progress, save=save)
