"""A warehouse of its own on the shared PostgreSQL, and committers that write to it without Kafka and a worker."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import psycopg
import pytest
from faust.types import TP

from agents.warehouse import Loaded, WarehouseProcessor, loader
from config.database_settings import WarehouseDatabaseSettings
from config.dataset import load_definition
from ops.cli import main
from stack.local import Stack
from streams.adapters.postgres import DatabaseClient
from streams.model.warehouse import WarehouseTable, folded, warehouse_tables
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.stats import RuntimeStats
from streams.runtime.testing import Consumed
from tables.warehouse import statements
from tables.warehouse.committer import Load, WarehouseCommitter, WarehouseSink
from tests.support.builders import Row

CUSTOMERS: Final = "dbserver1.public.customers"
NOW_MS: Final = 1_767_400_000_000
DEFINITION: Final = """\
name: {name}
engine: postgres
database: {name}
lake_prefix: {name}
tables:
  - name: customers
    key: [id]
    subject: customer
    warehouse: {{table: dim_customers, kind: dimension, key: [customer_id]}}
    columns:
      - {{name: id, type: bigint}}
      - {{name: email, type: string, personal: true}}
      - {{name: balance, type: decimal, precision: 12, scale: 2, nullable: true}}
      - {{name: born, type: date, nullable: true}}
  - name: orders
    key: [id]
    warehouse: {{table: fact_orders, kind: fact, key: [order_id]}}
    columns:
      - {{name: id, type: uuid}}
      - {{name: customer_id, type: bigint}}
      - {{name: score, type: double, nullable: true}}
      - {{name: paid, type: boolean, nullable: true}}
      - {{name: at, type: timestamp, nullable: true}}
"""


def login_of(stack: Stack) -> dict[str, str]:
    """The settings with which the stack's PostgreSQL is the warehouse; without servers, tests have others."""
    environment = stack.environment()
    names = ("HOST", "PORT", "USER", "PASSWORD")
    return {f"WAREHOUSE_{name}": environment[f"PG{name}"] for name in names}


class Letters:
    """Stands in for the producer of dead letters."""

    def __init__(self) -> None:
        self.kept: list[OutputRecord] = []

    async def keep(self, records: Sequence[OutputRecord]) -> None:
        self.kept += records

    async def close(self) -> None:
        return


class IdleWorker:
    """An application as far as a sink uses it: its id, and its group's offsets."""

    def __init__(self, app_id: str) -> None:
        self.conf = self
        self.id = app_id
        self.partition_supervisor = self
        self.kafka_client: dict[str, Any] = {}
        self.group_offsets: dict[TP, int] = {}
        self.stats = RuntimeStats()

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        self.group_offsets.update(offsets)


class Warehouse:
    """The warehouse of a small dataset, in a database of its own."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = f"wh_{secrets.token_hex(4)}"
        self.writers: list[Writer] = []
        (folder / self.name).mkdir()
        self.definition = folder / self.name / "definition.yaml"
        self.definition.write_text(DEFINITION.format(name=self.name))
        own = {"DATASETS_DIR": str(folder), "DATASET": self.name, "WAREHOUSE_DATABASE": self.name}
        own |= login_of(stack)
        for key, value in {**stack.environment(), **own}.items():
            monkeypatch.setenv(key, value)
        self.settings = WarehouseDatabaseSettings.read(stack.environment() | own)

    @property
    def address(self) -> dict[str, Any]:
        """Where the database is, and the login."""
        settings = self.settings
        login = {"user": settings.user, "password": settings.password, "dbname": settings.database}
        return {"host": settings.host, "port": settings.port, **login}

    def table(self, name: str) -> WarehouseTable:
        """A table of the definition as it is now."""
        return next(t for t in warehouse_tables(load_definition(self.name).tables) if t.name == name)

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement with the login; its rows."""
        writable = "-c default_transaction_read_only=off"  # whatever the database says
        with psycopg.connect(**self.address, options=writable, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str = "dim_customers") -> list[tuple[Any, ...]]:
        """The rows of a table."""
        return self.run(f"SELECT * FROM {table} ORDER BY 1")  # noqa: S608 - a test's own table

    def versions(self, table: str = "dim_customers") -> list[tuple[Any, ...]]:
        """The transactions that wrote the rows of a table."""
        return self.run(f"SELECT xmin::text, ctid::text FROM {table} ORDER BY ctid")  # noqa: S608

    def drop(self) -> None:
        """Delete the database."""
        with psycopg.connect(**self.address | {"dbname": "postgres"}, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)".encode())


@contextmanager
def warehouse_of(stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """A warehouse with its tables."""
    warehouse = Warehouse(stack, folder, monkeypatch)
    assert main(["warehouse", "apply"]) == 0
    try:
        yield warehouse
    finally:
        warehouse.drop()


class Writer:
    """One owner of a partition: it writes records as the application does, without Kafka.

    Args:
        statement: replaces the statement that writes rows.
        committer: replaces the class of the committer.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        table: str = "dim_customers",
        *,
        statement: str | None = None,
        committer: type[WarehouseCommitter] = WarehouseCommitter,
    ) -> None:
        self.table = warehouse.table(table)
        self.client = DatabaseClient(warehouse.address, connections=2)
        app = cast(TransactionalApp, IdleWorker(f"{warehouse.name}-app"))
        self.sink = WarehouseSink(self.client, app, schema=warehouse.name)
        self.letters = Letters()
        self.sink.dead_letters = cast(Any, self.letters)
        text = statement or statements.upsert(warehouse.name, self.table)
        self.load = Load(text, partial(statements.arrays, self.table))
        self.processor = WarehouseProcessor(self.table, app.conf.id)
        self.committer = committer(self.sink, self.load, self.processor.dead_letter, CUSTOMERS, 0)
        self._fold = loader(self.table)
        warehouse.writers.append(self)

    async def open(self) -> int | None:
        """Open the partition; the offset to begin at."""
        await self.committer.open()
        return (await self.committer.committed())[CUSTOMERS]

    async def write(self, *values: bytes, to: int | None = None) -> None:
        """Write the changes of a turn; `to` is the next offset."""
        rows = [self.loaded(value, offset) for offset, value in enumerate(values)]
        newest: dict[Any, Loaded] = {}
        for each in rows:
            known = newest.get(self.table.key_of(each.row))
            row = each.row if known is None else folded(known.row, each.row)
            newest[self.table.key_of(each.row)] = Loaded(row, each.record)
        outputs = [OutputRecord(self.table.name, None, None, source=e.record, content=e.row) for e in newest.values()]
        start = self.committer._expected or 0
        await self.committer.commit(outputs, {CUSTOMERS: start + len(values) if to is None else to})

    def loaded(self, value: bytes, offset: int = 0) -> Loaded:
        """The version of a row that a record of the change topic leads to."""
        envelope = msgspec.json.decode(value)
        key = str((envelope["after"] or envelope["before"])["id"]).encode()
        record = Consumed(CUSTOMERS, 0, offset, key, value, NOW_MS)
        found: Loaded = self._fold(None, cast(Any, _Wrapped(record)))
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


class _Wrapped:
    def __init__(self, record: Consumed) -> None:
        self.row = record


def customer(number: int = 1, email: str = "a@example.org", **columns: Any) -> Row:
    """A row of the source."""
    return {"id": number, "email": email, "balance": "1.50", "born": "1990-01-02Z"} | columns
