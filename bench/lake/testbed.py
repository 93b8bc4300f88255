"""Testbed of the lake benchmark: servers, a shop database with data, and the archive of the shop's changes.

As in the shipped datasets, the lake reads all tables from the archive of raw changes. The archive is filled outside the
measured times; during measurements, Kafka, Connect and the archive's worker are stopped.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject

from bench.lake.change import RECENT_DAYS, Shop, statements
from bench.testbed import DATASET, Say, StackTestbed, generator
from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.settings import ConnectSettings, KafkaSettings, ObjectStoreSettings
from demo.workers import Worker
from ops.connector.apply import apply_connector
from ops.connector.first_reads import read_all
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name, connector_settings
from ops.connector.signal_table import create_signal_table
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.generator.files import write_files
from ops.dataset.generator.load import load_files
from ops.dataset.generator.plan import Plan
from ops.dataset.schema import create_schema
from stack.errors import StackError
from stack.ports import free_ports
from stack.process import ProcessState
from stack.record import load_record
from streams.model.archive_chain import FOLDER, RECORDS

SERVERS: Final = ("kafka", "connect", "mariadb", "redis", "minio")
STREAM: Final = ("kafka", "connect")
PARTITIONS: Final = 4
BUCKETS: Final = ("bronze", "silver", "gold")
ARCHIVED_LIMIT_S: Final = 900.0
_HELD: Final = "held-back"
_POLL_S: Final = 0.5


class LakeBenchTestbed:
    """The servers of the lake benchmark, with a shop database and an archive of its changes.

    Attributes:
        base: the testbed with the servers.
        plan: numbers of orders, product lines and customers in the shop at the start.
        changed: number of source rows that the latest call of `change` changed.
    """

    def __init__(self, testbed: StackTestbed, plan: Plan, say: Say) -> None:
        self.base = testbed
        self.plan = plan
        self.database = DatabaseSettings.read(testbed.environment)
        self.storage = ObjectStoreSettings.read(testbed.environment)
        self.definition = load_definition(DATASET)
        self.changed = 0
        self._say = say
        self._archived = 0
        self._changes = 0
        self._store = Minio(
            urlsplit(self.storage.endpoint).netloc,
            access_key=self.storage.access_key,
            secret_key=self.storage.secret_key,
            secure=False,
        )
        self._fill()

    @classmethod
    @contextmanager
    def opened(cls, plan: Plan, say: Say) -> Iterator[LakeBenchTestbed]:
        """Start servers, load and archive the shop; after the `with` block, stop the servers and delete their data."""
        with StackTestbed.opened(SERVERS, partitions=PARTITIONS) as testbed:
            yield cls(testbed, plan, say)

    def servers(self) -> list[int]:
        """Return the pids of the benchmark's servers that are currently running."""
        site = self.base.stack.site
        records = (load_record(site.record(name)) for name in SERVERS)
        return [
            each.process.pid for each in records if each is not None and each.process.state() is not ProcessState.ENDED
        ]

    def rows(self, sql: str) -> list[Any]:
        """Run a query on the source database, and return its rows."""
        with connected(self.database, self.definition.database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            found: list[Any] = cursor.fetchall()
            return found

    # -- the shop and its stream --------------------------------------------------------------------------------------

    def _fill(self) -> None:
        self._say(f"loading {self.plan.orders:,} orders and {self.plan.customers:,} customers")
        with connected(self.database) as connection:
            create_schema(connection, self.definition)
            create_signal_table(connection)
        with tempfile.TemporaryDirectory(dir=self.base.folder) as folder:
            paths = write_files(generator(), self.plan, Path(folder))
            load_files(self.database, self.definition, paths, OnDuplicate.FAIL, lambda line: None)
        self._archived = sum(self.rows(f"SELECT COUNT(*) FROM {t.name}")[0][0] for t in self.definition.tables)  # noqa: S608
        self._say(f"archiving {self._archived:,} rows, which takes a few minutes at size 1")
        self.base.apply_topics("bench")
        with self._archiving():
            settings = ConnectSettings.read(self.base.environment)
            with ConnectClient(settings.url) as connect:
                apply_connector(connect, connector_name(DATASET), connector_settings(self.definition, settings))
                kafka = KafkaSettings.read(self.base.environment)
                read_all(self.definition, self.database, kafka, connect, limit_s=ARCHIVED_LIMIT_S)

    @contextmanager
    def _archiving(self) -> Iterator[None]:
        """Run Kafka, Connect and the archive's worker during the `with` block, and until all changes are archived."""
        self.base.stack.up(only=STREAM)
        [port] = free_ports(["archive"]).values()
        folder = self.base.folder / "archive"
        worker = Worker(web_port=port, environment=self.base.environment, folder=folder, application="streams.archive")
        worker.start()
        try:
            worker.wait_ready()
            yield
            self._until_archived(worker)
        finally:
            worker.stop()
            shutil.rmtree(folder / "state", ignore_errors=True)
            self.base.stack.down(only=STREAM)

    def _until_archived(self, worker: Worker) -> None:
        deadline = time.monotonic() + ARCHIVED_LIMIT_S
        while (count := self._records()) < self._archived:
            if not worker.is_running() or time.monotonic() > deadline:
                raise StackError(f"only {count:,} of {self._archived:,} changes are archived: see {worker.log}")
            time.sleep(_POLL_S)

    def _records(self) -> int:
        """Return the number of change records in the archive."""
        heads = (self._store.stat_object("bronze", name).metadata or {} for name in self._objects())
        return sum(int(head[f"x-amz-meta-{RECORDS}"]) for head in heads)

    def change(self, *, orders: int | None = None) -> None:
        """Change 1 % of the customers and of the orders (or `orders` orders); wait until the changes are archived."""
        self._changes += 1
        shop = self._shop()
        count = max(1, round(shop.orders * 0.01)) if orders is None else orders
        rows = 0
        with connected(self.database, self.definition.database) as connection, connection.cursor() as cursor:
            for text, values in statements(shop, seed=self._changes, orders=count):
                cursor.execute(text, tuple(values))
                rows += cursor.rowcount
            connection.commit()
        self.changed = rows
        self._archived += rows
        self._say(f"changed {rows:,} rows, including {count:,} orders; archiving them")
        with self._archiving():
            pass

    def _shop(self) -> Shop:
        [(last_day, first_recent)] = self.rows(
            f"SELECT DATE(MAX(`timestamp`)), DATE(MAX(`timestamp`)) - INTERVAL {RECENT_DAYS - 1} DAY FROM orders"  # noqa: S608
        )
        text = "SELECT id FROM orders WHERE `timestamp` {} '{}' ORDER BY id"
        recent, older = (self.rows(text.format(sign, first_recent)) for sign in (">=", "<"))
        return Shop(
            customers=self.plan.customers,
            recent=[row[0] for row in recent],
            older=[row[0] for row in older],
            last_day=str(last_day),
        )

    # -- the object storage -------------------------------------------------------------------------------------------

    def names(self, bucket: str, folder: str) -> list[str]:
        """Return the sorted names of all objects in a folder of a bucket and its subfolders."""
        found = self._store.list_objects(bucket, prefix=f"{folder}/" if folder else "", recursive=True)
        return sorted(str(each.object_name) for each in found)

    def content(self, bucket: str, name: str) -> bytes:
        """Return the content of an object."""
        with self._store.get_object(bucket, name) as answer:
            return bytes(answer.read())

    def _objects(self) -> list[str]:
        return self.names("bronze", FOLDER)

    def empty(self) -> None:
        """Delete the Bronze, Silver and Gold data of all systems, but keep the archive."""
        for bucket in BUCKETS:
            names = [name for name in self.names(bucket, "") if not name.startswith(f"{FOLDER}/")]
            for error in self._store.remove_objects(bucket, [DeleteObject(name) for name in names]):
                raise StackError(f"cannot delete the object {bucket}/{error.name}: {error.message}")

    def held_back(self, changes: int) -> list[list[str]]:
        """Make changes to the shop, and move their archive objects away, as if the changes had not arrived yet.

        The objects are moved only after all changes have been archived, because the archive's worker would write
        objects that are missing from a chain (the sequence of a partition's objects) again.

        Returns:
            The names of the archive objects of each change.
        """
        seen = set(self._objects())
        parts = []
        for _ in range(changes):
            self.change()
            parts.append([name for name in self._objects() if name not in seen])
            seen.update(parts[-1])
        for name in (name for part in parts for name in part):
            self._move(name, f"{_HELD}/{name}")
        return parts

    def release(self, names: Sequence[str]) -> None:
        """Move objects that `held_back` has moved away back into the archive."""
        for name in names:
            self._move(f"{_HELD}/{name}", name)

    def _move(self, name: str, target: str) -> None:
        self._store.copy_object("bronze", target, CopySource("bronze", name))
        self._store.remove_object("bronze", name)
