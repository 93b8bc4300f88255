"""Goal: a dataset on PostgreSQL gets the same tools and the same lake as one on MariaDB.

Method: the shipped dataset `shop` on a real PostgreSQL, made and lived in by the commands that people type; the lake is
filled over JDBC and compared with the source by the code of `reconcile`.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.bronze.jdbc_rows import check_columns, read_source
from batch.context import RunContext
from batch.errors import BatchError
from batch.reconcile.buckets import difference, key_values
from batch.reconcile.queries import bronze_rows, silver_rows, source_query
from batch.reconcile.sides import LakeSide, SourceSide
from batch.silver import refine
from batch.storage.canonical import spark_text
from batch.storage.database import connected
from config.database_settings import PostgresSettings
from config.dataset import load_definition
from config.definition import Column, Definition, LogicalType, Table
from config.engines import postgres
from config.engines.base import Connection
from config.engines.faults import EngineError
from ops.cli import main
from ops.database import connected as as_owner
from stack.local import Stack
from stack.servers.postgres import SUPERUSER
from tests.support.lake.bronze_testbed import run_context

SHIPPED = load_definition("shop")
SHOP: Definition = msgspec.structs.replace(
    SHIPPED, tables=tuple(msgspec.structs.replace(table, feed="jdbc") for table in SHIPPED.tables)
)
STRANGER = "a word for tests"
ONE_OF_ALL = ["--count", "150", "--insert-p", "0.4", "--update-p", "0.4", "--delete-p", "0.2"]


@pytest.fixture(scope="module")
def login(postgres_stack: Stack) -> PostgresSettings:
    return PostgresSettings.read(postgres_stack.environment())


@pytest.fixture
def shop(postgres_stack: Stack, login: PostgresSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """The shop with few rows, and a connection whose transactions the test ends itself."""
    for name, value in postgres_stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATASET", "shop")
    assert main(["dataset", "init", "--drop"]) == 0
    assert main(["dataset", "generate", "--size", "0.002", "--customers", "50"]) == 0
    with as_owner(login, SHOP.database, SHOP.schema) as connection:
        yield connection


def count(connection: Connection, table: str) -> int:
    found = int(connection.value(f"SELECT count(*) FROM {table}"))  # noqa: S608
    connection.rollback()  # an open transaction would hold the lake's windows back
    return found


def differing(context: RunContext, table: Table, login: PostgresSettings) -> dict[str, list[str]]:
    """The keys of rows that differ between the source and each layer."""
    found = {}
    with (
        connected(login, SHOP.database, SHOP.schema) as connection,
        ThreadPoolExecutor(1) as thread,
    ):
        source = SourceSide(connection, source_query(connection.engine, table), thread)
        for layer, select in (("bronze", bronze_rows), ("silver", silver_rows)):
            rows = select(context.table(layer, table.name).read(), table)
            found[layer] = sorted(difference(source, LakeSide(lambda rows=rows: rows)).rows)  # type: ignore[misc]
    return found


def filled(spark: SparkSession, folder: Path, login: PostgresSettings) -> RunContext:
    """Bronze and Silver of all tables, after one more run."""
    context = run_context(spark, folder, definition=SHOP, database=login)
    for table in SHOP.tables:
        bronze.land(table, context)
        refine.refine(table, context)
    return context


def test_a_simulated_life_leaves_every_order_with_the_total_of_its_items(shop: Connection) -> None:
    assert main(["dataset", "simulate", "--seed", "7", *ONE_OF_ALL]) == 0
    lost = "SELECT count(*) FROM order_items AS i LEFT JOIN orders AS o ON o.id = i.order_id WHERE o.id IS NULL"
    wrong = (
        "SELECT count(*) FROM orders AS o WHERE total <> "
        "(SELECT sum(quantity * unit_price) FROM order_items WHERE order_id = o.id)"
    )
    assert (shop.value(lost), shop.value(wrong)) == (0, 0)
    assert shop.value("SELECT count(*) FROM orders WHERE updated_at > created_at AND created_at > '2026-01-01'") > 0


def test_a_refused_row_is_reported_by_line_and_the_others_are_loaded(
    shop: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["id,name,category,price,created_at,updated_at"]
    names = ["first", "'quoted' \\ too", "taken", "a\0b", "last"]
    numbers = [90_001, 90_002, 1, 90_004, 90_005]
    lines += [f"{number},{name},toys,1.50,2025-01-01,2025-01-01" for number, name in zip(numbers, names, strict=True)]
    path = tmp_path / "products.csv"
    path.write_text("\n".join(lines), "utf-8")
    shop.driver.execute("ALTER TABLE products ADD CONSTRAINT no_last CHECK (name <> 'last')")
    shop.commit()
    before = count(shop, "products")
    assert main(["dataset", "load", "products", str(path)]) == 1
    err = capsys.readouterr().err
    assert count(shop, "products") == before + 2
    assert "line 4: duplicate key 1" in err
    assert "line 5: name contains a NUL character, which PostgreSQL cannot store" in err
    assert 'line 6: new row for relation "products" violates check constraint "no_last"' in err
    assert shop.value("SELECT name FROM products WHERE id = 90002") == names[1]


def test_the_lake_equals_the_source_and_deletions_that_windows_cannot_see_are_repaired(
    spark: SparkSession, tmp_path: Path, shop: Connection, login: PostgresSettings
) -> None:
    equal: dict[str, list[str]] = {"bronze": [], "silver": []}
    context = filled(spark, tmp_path, login)
    assert {name: differing(context, SHOP.table(name), login) for name in ("orders", "order_items")} == {
        "orders": equal,
        "order_items": equal,
    }
    assert context.table("silver", "orders").read().count() == count(shop, "orders") > 50
    assert main(["dataset", "simulate", "--seed", "8", "--insert-p", "0.5", "--update-p", "0.5", "--delete-p", "0",
                 "--count", "60"]) == 0  # fmt: skip
    order_id = str(shop.value("SELECT id FROM orders ORDER BY id LIMIT 1"))
    shop.rollback()
    shop.driver.execute("DELETE FROM orders WHERE id = %s", (order_id,))
    shop.driver.execute("UPDATE customers SET name = 'Łucja O''Neil', email = 'a@b.example' WHERE id = 1")
    shop.commit()
    context = filled(spark, tmp_path, login)
    orders, key = SHOP.table("orders"), f"36:{order_id}"
    gone = {"bronze": [key], "silver": [key]}
    for table in SHOP.tables:
        assert differing(context, table, login) == (gone if table is orders else equal), table.name
    bronze.land_rows(orders, [key_values(key)], context)
    refine.refine(orders, context)
    assert differing(context, orders, login) == equal


def test_the_clock_goes_back_to_the_oldest_open_transaction(shop: Connection, login: PostgresSettings) -> None:
    shop.rollback()
    with connected(login, SHOP.database, SHOP.schema) as other:
        assert other.engine.clock(other).open_s == 0
        began = shop.value("SELECT now()")
        shop.driver.execute("SELECT pg_sleep(0.3)")
        clock = other.engine.clock(other)
    assert clock.open_s >= 0.3
    assert clock.now - datetime.timedelta(seconds=clock.open_s) <= began


def test_a_user_who_cannot_see_others_transactions_reads_no_window(
    postgres_stack: Stack, shop: Connection, login: PostgresSettings
) -> None:
    shop.rollback()
    password = postgres_stack.site.credentials.postgres_superuser_password
    superuser = dataclasses.replace(login, user=SUPERUSER, password=password)
    with connected(superuser, SHOP.database, SHOP.schema) as admin:
        admin.driver.execute("DROP ROLE IF EXISTS stranger")
        admin.driver.execute(f"CREATE ROLE stranger LOGIN PASSWORD '{STRANGER}'")
    stranger = dataclasses.replace(login, user="stranger", password=STRANGER)
    with (
        connected(stranger, SHOP.database, SHOP.schema) as other,
        pytest.raises(EngineError, match="pg_read_all_stats"),
    ):
        other.engine.clock(other)


def test_a_reading_is_placed_before_every_later_commit_even_of_an_open_transaction(
    shop: Connection, login: PostgresSettings
) -> None:
    shop.rollback()
    with connected(login, SHOP.database, SHOP.schema) as other:
        with pytest.raises(EngineError, match="millrace_heartbeat"):
            other.engine.log_place(other)
        other.driver.execute("CREATE TABLE IF NOT EXISTS millrace_heartbeat (id int PRIMARY KEY, at timestamptz)")
        with pytest.raises(EngineError, match="no row"):
            other.engine.log_place(other)
        other.driver.execute("INSERT INTO millrace_heartbeat VALUES (1, now())")
        shop.driver.execute("UPDATE customers SET country = 'XX' WHERE id = 1")
        end, rest = other.engine.log_place(other)
        beaten = int(other.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))
    shop.rollback()
    assert rest == 0
    assert end < beaten, "the heartbeat's commit comes after the place, and is the last commit of all later changes"


def test_a_reading_waits_for_commits_that_are_in_the_log_and_not_yet_visible(
    postgres_stack: Stack, shop: Connection, login: PostgresSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those that wait for a standby: the reading would not show them, and would count as newer."""
    superuser = dataclasses.replace(
        login, user=SUPERUSER, password=postgres_stack.site.credentials.postgres_superuser_password
    )
    monkeypatch.setattr(postgres, "LOCK_WAIT_S", 1)
    with connected(superuser, SHOP.database, SHOP.schema) as admin, connected(login, SHOP.database) as other:
        other.driver.execute("CREATE TABLE IF NOT EXISTS millrace_heartbeat (id int PRIMARY KEY, at timestamptz)")
        other.driver.execute("INSERT INTO millrace_heartbeat VALUES (1, now()) ON CONFLICT DO NOTHING")
        other.driver.execute("SET synchronous_commit = local")
        admin.driver.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.driver.execute("SELECT pg_reload_conf()")
        shop.driver.execute("UPDATE customers SET country = 'YY' WHERE id = 1")
        committing = threading.Thread(target=shop.commit)
        try:
            committing.start()
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            deadline = time.monotonic() + 20
            while not admin.value(waiting):
                assert time.monotonic() < deadline, "the commit does not wait"
                time.sleep(0.05)
            with pytest.raises(EngineError, match="may be committing"):
                other.engine.log_place(other)
        finally:
            admin.driver.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.driver.execute("SELECT pg_reload_conf()")
            committing.join()
        assert other.engine.log_place(other) > (0, 0)
        assert other.value("SELECT country FROM customers WHERE id = 1") == "YY"


KINDS = (
    Column(name="id", type=LogicalType.INTEGER),
    Column(name="code", type=LogicalType.UUID, nullable=True),
    Column(name="text", type=LogicalType.STRING, nullable=True),
    Column(name="padded", type=LogicalType.STRING, nullable=True),
    Column(name="document", type=LogicalType.STRING, nullable=True),
    Column(name="mood", type=LogicalType.STRING, nullable=True),
    Column(name="large", type=LogicalType.BIGINT, nullable=True),
    Column(name="price", type=LogicalType.DECIMAL, precision=20, scale=4, nullable=True),
    Column(name="is_on", type=LogicalType.BOOLEAN, nullable=True),
    Column(name="on_day", type=LogicalType.DATE, nullable=True),
    Column(name="at", type=LogicalType.TIMESTAMP, nullable=True),
    Column(name="local", type=LogicalType.TIMESTAMP, nullable=True),
)
ALL_KINDS = """
CREATE TYPE mood AS ENUM ('glad', 'so so');
CREATE TABLE kinds (id int PRIMARY KEY, code uuid, text text, padded char(5), document jsonb, mood mood, large bigint,
                    price numeric, is_on bool, on_day date, at timestamptz, local timestamp);
INSERT INTO kinds VALUES (1);
INSERT INTO kinds VALUES
(2, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '', '', '{}', 'glad', 0, 0, false, '0001-01-01', '0001-01-01 00:00Z',
 '2024-02-29'),
(3, NULL, E'𝒳 „quoted“ \\t\\n''', 'ab', '{"b": 1.10,   "a": [null]}', 'so so', -9223372036854775808,
 -1234567890123456.78, true, '9999-12-31', '2024-02-29 12:34:56.789012+02', '9999-12-31 23:59:59.999999'),
(4, NULL, 'x', 'abcde', '"x"', NULL, 9223372036854775807, 0.00001, true, '2024-02-29', NULL, NULL),
(5, NULL, NULL, NULL, NULL, NULL, NULL, 'NaN', NULL, '0044-03-15 BC', 'infinity', '-infinity');
"""
LIES = {4: {"price": "0.00001"}, 5: {"price": "NaN", "on_day": "0044-03-15 BC", "at": "infinity", "local": "-infinity"}}


def test_every_value_has_its_canonical_text_in_bronze_and_none_is_bent(
    spark: SparkSession, shop: Connection, login: PostgresSettings
) -> None:
    shop.engine.run_script(shop, ALL_KINDS)
    table = Table(name="kinds", key=("id",), columns=KINDS)
    with connected(login, SHOP.database, SHOP.schema) as connection:
        assert check_columns(connection, table) == {}
        found_rows = connection.rows(f"SELECT id, {connection.engine.row(KINDS)} FROM kinds")  # noqa: S608
    of_the_database = {str(number): text for number, text in found_rows}
    rows = read_source(spark, login, SHOP, table, "TRUE")
    texts = [Column(name=column.name, type=LogicalType.STRING) for column in KINDS]
    assert {r["id"]: r["t"] for r in rows.selectExpr("id", f"{spark_text(texts)} AS t").collect()} == of_the_database
    found = {int(row["id"]): row.asDict() for row in rows.collect()}
    assert {name: found[2][name] for name in ("code", "price", "is_on", "at")} == {
        "code": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "price": "0.0000",
        "is_on": "0",
        "at": "0001-01-01 00:00:00.000000",
    }
    assert (found[3]["padded"], found[3]["at"]) == ("ab   ", "2024-02-29 10:34:56.789012")
    for number, expected in LIES.items():  # Silver quarantines these, instead of storing something else
        assert {name: found[number][name] for name in expected} == expected


def test_floating_point_numbers_are_written_alike(spark: SparkSession, shop: Connection) -> None:
    numbers = [None, 0.0, 1.0, 0.1, 1e300, 5e-324, 1626983080611305.8]
    numbers += [sign * some * 10.0**n for n in range(-25, 25) for some in (1, 1.5, 1 / 3, math.pi) for sign in (1, -1)]
    columns = (Column(name="id", type=LogicalType.INTEGER), Column(name="x", type=LogicalType.DOUBLE, nullable=True))
    table = Table(name="doubles", key=("id",), columns=columns)
    shop.driver.execute("CREATE TABLE doubles (id int PRIMARY KEY, x float8)")
    with shop.cursor() as cursor:
        cursor.executemany("INSERT INTO doubles VALUES (%s, %s)", list(enumerate(numbers)))
    expected = set(map(tuple, shop.rows(source_query(shop.engine, table))))
    typed = spark.createDataFrame([(n, x, False) for n, x in enumerate(numbers)], "id INT, x DOUBLE, _deleted BOOLEAN")
    assert {(row["k"], row["d"]) for row in silver_rows(typed, table).collect()} == expected


def test_a_column_of_another_type_is_refused(login: PostgresSettings, shop: Connection) -> None:
    shop.driver.execute("CREATE TABLE odd (id int PRIMARY KEY, days int[])")
    shop.commit()
    columns = (Column(name="id", type=LogicalType.INTEGER), Column(name="days", type=LogicalType.STRING))
    table, told = Table(name="odd", key=("id",), columns=columns), "days has type _int4 instead of string"
    with connected(login, SHOP.database, SHOP.schema) as connection, pytest.raises(BatchError, match=told):
        check_columns(connection, table)
