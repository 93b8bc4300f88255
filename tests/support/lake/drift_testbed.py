"""A database whose tables are changed while it is captured: its servers, connector, workers, warehouse and two lakes.

The dataset `drifting` is captured and has a warehouse; `drifting_jdbc` reads the same tables from the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest
from minio import Minio

from batch.pipeline.manifest import Manifest, TableRun
from config.database_settings import WarehouseDatabaseSettings
from config.dataset import load_definition
from config.definition import Definition
from config.engines import engine_of
from config.settings import ArchiveSettings, ObjectStoreSettings, environment_with
from demo.archived import ArchiveCount, captured
from demo.workers import Worker
from ops.cli import main
from ops.connector.source_columns import Difference, compared
from ops.database import connected
from ops.topic_reader import TopicReader
from stack.ports import free_ports
from streams.topics import Direction, TopicSpec, catalogue_of, topic_under
from tests.support.lake.drifting_tables import CHANGES, NAME, Change, definition, gold, rows_before, schema
from tests.support.lake.testbed import Answer, Shell
from tests.support.server_waiting import until
from tests.support.stacks import stack_with_postgres

JDBC: Final = f"{NAME}_jdbc"
FEEDS: Final = {NAME: "changes", JDBC: "jdbc"}
SERVERS: Final = ("kafka", "connect", "postgres", "redis", "minio")
MARKED: Final = "text_widened"
"""A table that takes a row whose arrival shows that all earlier changes have arrived."""


class DriftTestbed:
    """The database with all that reads it.

    Attributes:
        environment: settings of all programs.
        archive, warehouse: the workers, once they were started.
    """

    def __init__(self, engine: str, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.environment: dict[str, str] = {}
        self.archive: Worker
        self.warehouse: Worker
        self._shell = Shell(folder / "shell.log")
        self._marks = 0

    # -- the dataset --------------------------------------------------------------------------------------------------

    def define(self, *, is_new: bool, has_new_gold: bool = True) -> None:
        """Write the definitions as they are before or after the changes; the queries of Gold may stay behind."""
        for name, feed in FEEDS.items():
            folder = self.folder / "datasets" / name
            (folder / "gold").mkdir(parents=True, exist_ok=True)
            (folder / "definition.yaml").write_text(definition(name, self.engine, feed, is_new=is_new))
            (folder / "schema.sql").write_text(schema(self.engine))
            for change in CHANGES if feed == "changes" and has_new_gold else ():
                (folder / "gold" / f"gold_{change.table}.sql").write_text(gold(change, is_new=is_new))

    @property
    def definition(self) -> Definition:
        """The present definition of the captured dataset."""
        return load_definition(NAME)

    def run(self, *arguments: str, codes: Sequence[int] = (0,)) -> None:
        """Run a command of `millrace`."""
        assert main(list(arguments)) in codes, arguments

    def change(self, *statements: str) -> None:
        """Run statements in the source, each in a transaction of its own."""
        login = engine_of(self.definition).login(self.environment)
        with connected(login, NAME, self.definition.schema) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                connection.commit()

    def source_rows_of(self, change: Change) -> list[tuple[Any, ...]]:
        """The rows of a table in the source after its change."""
        login = engine_of(self.definition).login(self.environment)
        with connected(login, NAME, self.definition.schema) as connection:
            return _by_key(connection.rows(f"SELECT {', '.join(change.columns)} FROM {change.name}"))  # noqa: S608

    def warehouse_rows_of(self, change: Change) -> list[tuple[Any, ...]]:
        """The same rows in the warehouse."""
        columns = ", ".join(change.columns)
        return _by_key(self._warehouse_rows(f"SELECT {columns} FROM {NAME}.{change.table} WHERE NOT is_deleted"))  # noqa: S608

    def differences(self) -> list[Difference]:
        """How the source differs from the definition, as `connector status` and `watch` say it."""
        return compared(engine_of(self.definition).login(self.environment), self.definition)

    # -- streams ------------------------------------------------------------------------------------------------------

    def start_workers(self) -> None:
        """Start the workers of archive and warehouse with the present definition."""
        self.archive, self.warehouse = (self._worker(f"streams.{name}") for name in ("archive", "warehouse"))
        for worker in (self.archive, self.warehouse):
            worker.wait_ready()

    def stop_workers(self) -> None:
        """End the workers."""
        for name in ("archive", "warehouse"):
            if name in vars(self):
                getattr(self, name).stop()

    def _worker(self, application: str) -> Worker:
        [port] = free_ports(["worker"]).values()
        environment = {**self.environment, "ARCHIVE_FLUSH_S": "0.5"}
        worker = Worker(
            web_port=port, environment=environment, folder=self.folder / application, application=application
        )
        worker.start()
        return worker

    def until_arrived(self) -> None:
        """Wait until every change committed so far is archived, and in the warehouse or a dead letter."""
        self._marks += 1
        mark = f"mark {self._marks}"
        self.change(f"INSERT INTO {MARKED} (id, n, note) VALUES ({100 + self._marks}, 1, '{mark}')")  # noqa: S608
        until(lambda: self._is_captured(mark.encode()), "the mark is in Kafka")
        topics = self._topics()
        there = captured(self.environment["KAFKA_BOOTSTRAP"], topics)
        count = ArchiveCount(ObjectStoreSettings.read(self.environment), ArchiveSettings.read(self.environment), topics)
        until(lambda: count.records() >= there, "all changes are archived")
        until(self._is_warehouse_level, "the warehouse has all changes")

    def _is_captured(self, mark: bytes) -> bool:
        found: list[bytes] = []
        topic = topic_under(self.definition.topic_prefix, MARKED)
        with TopicReader(self.environment["KAFKA_BOOTSTRAP"], topic, "test-drift") as reader:
            reader.visit_to_end(lambda _, value: found.append(value or b""))
        return any(mark in value for value in found)

    def _topics(self) -> list[TopicSpec]:
        specs = catalogue_of(self.definition, app_id="-", order_partitions=4)
        return [spec for spec in specs if spec.direction is Direction.IN]

    def _is_warehouse_level(self) -> bool:
        stats = self.warehouse.stats() or {}
        lags = [each["lag"] for each in stats.get("sources", {}).values()]
        return bool(lags) and all(lag == 0 for lag in lags)

    def _warehouse_rows(self, query: str) -> list[tuple[Any, ...]]:
        login = WarehouseDatabaseSettings.read(self.environment)
        address = {"host": login.host, "port": login.port, "user": login.user, "password": login.password}
        with psycopg.connect(**address, dbname=login.database, autocommit=True) as connection:  # type: ignore[arg-type]
            return connection.execute(query.encode()).fetchall()

    # -- the lakes ----------------------------------------------------------------------------------------------------

    def lake(self, name: str, *arguments: str, codes: Sequence[int] = (0,)) -> Answer:
        """Run a command of a dataset's lake."""
        found = self._shell.ask({"argv": arguments}, {**self.environment, "DATASET": name})
        answer = Answer(found["code"], found["out"], found["err"])
        assert answer.code in codes, answer.text
        return answer

    def outcomes(self, name: str) -> dict[str, TableRun]:
        """The outcome of the newest run for each layer and table, such as `silver/orders`."""
        settings = ObjectStoreSettings.read(self.environment)
        address = urlsplit(settings.endpoint).netloc
        store = Minio(address, access_key=settings.access_key, secret_key=settings.secret_key, secure=False)
        found = store.list_objects("gold", f"{name}/audit/runs/", recursive=True)
        newest = max(str(each.object_name) for each in found)
        with store.get_object("gold", newest) as answer:
            manifest = msgspec.json.decode(answer.read(), type=Manifest)
        return {table.name: table for table in manifest.tables}

    def close(self) -> None:
        """End what was started."""
        self.stop_workers()
        self._shell.close()


def _by_key(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, rows), key=lambda row: row[0])


@contextmanager
def drift_testbed(engine: str, folder: Path) -> Iterator[DriftTestbed]:
    """Yield the database with rows, captured and archived, before its tables are changed."""
    testbed = DriftTestbed(engine, folder)
    testbed.define(is_new=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATASETS_DIR", str(folder / "datasets"))  # the stack makes accounts for the databases in there
        servers = (*SERVERS, *(["mariadb"] if engine == "mysql" else []))
        with stack_with_postgres(folder / "stack", servers) as stack:
            more = {
                "DATASETS_DIR": str(folder / "datasets"),
                "DATASET": NAME,
                "LOG_DIR": str(folder / "logs"),
                "SPARK_MASTER": "local[2]",
                **{f"WAREHOUSE_{key}": stack.environment()[f"PG{key}"] for key in ("HOST", "PORT", "USER", "PASSWORD")},
            }
            testbed.environment = environment_with({**stack.environment(), **more})
            for key, value in testbed.environment.items():
                patch.setenv(key, value)
            try:
                _begin(testbed)
                yield testbed
            finally:
                testbed.close()


def _begin(testbed: DriftTestbed) -> None:
    testbed.run("dataset", "init")
    testbed.change(*(rows_before(change) for change in CHANGES))
    testbed.run("topics", "apply")
    testbed.run("connector", "apply", "--wait-snapshot")
    testbed.run("warehouse", "apply")
    testbed.start_workers()
    testbed.until_arrived()


def letters(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """All dead letters."""
    capsys.readouterr()
    assert main(["dead-letters", "list", "--json", "--limit", "1000"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["letters"]
    return found
