"""The shop in a real MariaDB whose tables land in Bronze over JDBC, and the fixtures that make it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.context import LayerResult
from batch.reconcile.buckets import Difference, difference
from batch.reconcile.queries import bronze_rows, source_query
from batch.reconcile.sides import LakeSide, SourceSide
from batch.silver.refine import refine
from batch.storage.database import connected
from config.database_settings import DatabaseSettings
from config.engines.base import Connection
from ops.database import connected as as_owner
from ops.dataset.schema import create_schema
from stack.local import Stack
from tests.support.lake.bronze_testbed import DEFINITION, content, fed_by_jdbc, picked, run_context
from tests.support.lake.delta_rows import delta_rows

BY_CURSOR = "orders"
WITHOUT_CURSOR = "order_details"


@pytest.fixture
def database(lake_stack: Stack) -> DatabaseSettings:
    return DatabaseSettings.read(lake_stack.environment())


@pytest.fixture
def shop(database: DatabaseSettings) -> Iterator[Connection]:
    """The empty tables, and a connection whose transactions the test ends itself."""
    with as_owner(database, None) as owner:
        create_schema(owner, DEFINITION, drop=True)
    with connected(database, DEFINITION.database) as connection:
        connection.driver.autocommit = False
        yield connection
        connection.rollback()


class Source:
    """Lands one table of the shop, again and again."""

    def __init__(self, spark: SparkSession, folder: Path, database: DatabaseSettings, table: str) -> None:
        self.definition, self.table = fed_by_jdbc(table)
        self._spark, self._folder, self._database = spark, folder, database

    def land(self, **more: Any) -> LayerResult:
        """A run of its own."""
        return bronze.land(self.table, self._context(**more))

    def land_new(self) -> LayerResult:
        """Runs until one has landed rows: a short transaction of the server's own holds the anchor back by a second."""
        deadline = time.monotonic() + 30
        while True:
            result = self.land()
            if not result.is_unchanged:
                return result
            assert time.monotonic() < deadline, "no run landed a row"

    def land_rows(self, *keys: tuple[str, ...], **more: Any) -> LayerResult:
        """A repair."""
        return bronze.land_rows(self.table, keys, self._context(**more))

    def aside(self) -> dict[str, str]:
        """The reasons for the entries in the quarantine, by their keys."""
        entries = delta_rows(self._context().lake.quarantine())
        assert {(entry["table"], entry["rule"]) for entry in entries} == {(self.table.name, "unreadable")}
        return {entry["key"]: json.loads(entry["row"])["reason"] for entry in entries}

    def refine(self) -> LayerResult:
        """Silver after a run."""
        return refine(self.table, self._context())

    def difference(self, connection: Connection) -> Difference:
        """Bronze, as `reconcile` compares it."""
        bronze_table = self._context().table("bronze", self.table.name).read()
        with ThreadPoolExecutor(1) as thread:
            source = SourceSide(connection, source_query(connection.engine, self.table), thread)
            return difference(source, LakeSide(lambda: bronze_rows(bronze_table, self.table)))

    def rows(self, *names: str) -> list[tuple[Any, ...]]:
        """What is in Bronze, by key and sequence."""
        return picked(content(self._context(), self.table.name), *names)

    def _context(self, **more: Any) -> Any:
        return run_context(self._spark, self._folder, definition=self.definition, database=self._database, **more)


@pytest.fixture
def orders(spark: SparkSession, tmp_path: Path, database: DatabaseSettings, shop: Connection) -> Source:
    return Source(spark, tmp_path, database, BY_CURSOR)


@pytest.fixture
def details(spark: SparkSession, tmp_path: Path, database: DatabaseSettings, shop: Connection) -> Source:
    return Source(spark, tmp_path, database, WITHOUT_CURSOR)


def execute(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def order(connection: Connection, number: int, at: str = "NOW(6)") -> None:
    execute(connection, f"INSERT INTO orders VALUES ('order-{number}', 1, 2, 3, 4, {at})")  # noqa: S608
