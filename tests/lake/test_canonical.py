"""Goal: a row has the same canonical text, from Spark, from the database, and by each way into Bronze.

Method: nasty values in a real table; the database's texts are held against Spark's of the same typed values, and
against what Bronze makes of them as the connector spells them. Rows of different values never have the same text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from hashlib import md5
from typing import Any

import pytest
from pyspark.sql import SparkSession

from batch.bronze.connector_text import canonical_text
from batch.bronze.jdbc_rows import read_source
from batch.reconcile.queries import bronze_rows, silver_rows, source_query
from batch.storage.canonical import double_text, spark_text
from batch.storage.database import connected
from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import Column, LogicalType, Table
from config.engines.base import Connection
from stack.local import Stack
from tests.support.lake.frames import small_frame

COLUMNS = (
    Column(name="id", type=LogicalType.INTEGER),
    Column(name="code", type=LogicalType.UUID),
    Column(name="text", type=LogicalType.STRING),
    Column(name="large", type=LogicalType.BIGINT),
    Column(name="price", type=LogicalType.DECIMAL, precision=20, scale=4),
    Column(name="fine", type=LogicalType.DECIMAL, precision=38, scale=10),
    Column(name="is_on", type=LogicalType.BOOLEAN),
    Column(name="on_day", type=LogicalType.DATE),
    Column(name="at", type=LogicalType.TIMESTAMP),
)
TABLE = Table(name="nasty", key=("id",), columns=COLUMNS)
TYPES = (
    "id INT, code STRING, text STRING, large BIGINT, price DECIMAL(20, 4), fine DECIMAL(38, 10), is_on BOOLEAN, "
    "on_day DATE, at TIMESTAMP_NTZ"
)
Values = tuple[Any, ...]
ROWS: list[Values] = [
    (1, None, None, None, None, None, None, None, None),
    (2, "", "", 0, Decimal("0.0000"), Decimal("0.0000000000"), False, date(1, 1, 1), datetime(1000, 1, 1)),
    (3, "A", "it's \"q\" \\ `b` ; --", -(2**63), Decimal("-0.0001"), Decimal("0.0000000001"), True, date(2024, 2, 29),
     datetime(2024, 2, 29, 23, 59, 59, 999_999)),
    (4, "a", "\U0001f600 żółć e\u0301 中文", 2**63 - 1, Decimal("1234567890123456.7890"), Decimal("-1.5"), True,
     date(9999, 12, 31), datetime(9999, 12, 31, 23, 59, 59, 1)),
    (5, "a ", "two\nlines\ttab ", -1, Decimal("1E+3"), Decimal("9" * 28), False, date(1969, 12, 31),
     datetime(1969, 12, 31, 23, 59, 59, 100_000)),
    (6, "-", "1:x-", 10, Decimal("10"), Decimal("1"), False, date(2025, 3, 30), datetime(2025, 3, 30, 2, 30)),
    (7, "1:", "x-", 10, Decimal("10"), Decimal("1"), False, date(2025, 3, 30), datetime(2025, 3, 30, 2, 30)),
]  # fmt: skip


@pytest.fixture(scope="module")
def database(lake_stack: Stack) -> DatabaseSettings:
    return DatabaseSettings.read(lake_stack.environment())


@pytest.fixture(scope="module")
def nasty(database: DatabaseSettings) -> Iterator[Connection]:
    """The table with the rows."""
    with connected(database, "information_schema") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS project_db CHARACTER SET utf8mb4")
        cursor.execute("USE project_db")
        cursor.execute(
            "CREATE TABLE nasty (id INT PRIMARY KEY, code CHAR(36) CHARACTER SET ascii COLLATE ascii_bin, text TEXT, "
            "large BIGINT, price DECIMAL(20, 4), fine DECIMAL(38, 10), is_on TINYINT(1), on_day DATE, at DATETIME(6))"
        )
        cursor.executemany("INSERT INTO nasty VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", ROWS)
        yield connection
        cursor.execute("DROP TABLE nasty")


def of_the_database(connection: Connection) -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, {connection.engine.row(COLUMNS)} FROM nasty")  # noqa: S608
        return {int(str(row[0])): str(row[1]) for row in cursor.fetchall()}


def stored(row: Values) -> Values:
    """CHAR has no spaces at its end."""
    return (row[0], None if row[1] is None else row[1].rstrip(" "), *row[2:])


def test_the_database_and_spark_write_the_same_text(spark: SparkSession, nasty: Connection) -> None:
    rows = spark.createDataFrame([stored(row) for row in ROWS], TYPES)
    texts = {row["id"]: row["text"] for row in rows.selectExpr("id", f"{spark_text(COLUMNS)} AS text").collect()}
    assert texts == of_the_database(nasty)
    assert len(set(texts.values())) == len(ROWS)


def test_a_null_and_an_empty_text_differ(nasty: Connection) -> None:
    texts = of_the_database(nasty)
    assert texts[1] == "1:1--------"
    assert texts[2].startswith("1:20:0:1:0")


def test_text_is_counted_in_characters_and_not_in_bytes_or_halves(nasty: Connection) -> None:
    text = str(ROWS[3][2])
    assert f"{len(text)}:{text}" in of_the_database(nasty)[4]


def test_bronze_has_the_databases_texts_by_jdbc(
    spark: SparkSession, nasty: Connection, database: DatabaseSettings
) -> None:
    rows = read_source(spark, database, load_definition("project_db"), TABLE, "TRUE")
    assert {field.dataType.typeName() for field in rows.schema} == {"string"}
    assert as_bronze_texts(rows) == of_the_database(nasty)


def test_bronze_makes_the_same_texts_of_what_the_connector_delivers(spark: SparkSession, nasty: Connection) -> None:
    delivered = [tuple(as_the_connector_spells_it(value) for value in stored(row)) for row in ROWS]
    raw = spark.createDataFrame(delivered, ", ".join(f"{column.name} STRING" for column in COLUMNS))
    rows = raw.selectExpr(*(f"{canonical_text(column, column.name)} AS {column.name}" for column in COLUMNS))
    assert as_bronze_texts(rows) == of_the_database(nasty)


def test_floating_point_numbers_are_compared_as_the_database_writes_them(
    spark: SparkSession, nasty: Connection
) -> None:
    numbers = [None, 0.0, 1.0, 0.1, 1e300, 5e-324, 1626983080611305.8]
    numbers += [sign * some * 10.0**n for n in range(-25, 25) for some in (1, 1.5, 1 / 3, math.pi) for sign in (1, -1)]
    columns = (Column(name="id", type=LogicalType.INTEGER), Column(name="x", type=LogicalType.DOUBLE, nullable=True))
    table = Table(name="doubles", key=("id",), columns=columns)
    with nasty.cursor() as cursor:
        cursor.execute("CREATE TABLE doubles (id INT PRIMARY KEY, x DOUBLE)")
        cursor.executemany("INSERT INTO doubles VALUES (%s, %s)", list(enumerate(numbers)))
        cursor.execute(source_query(nasty.engine, table))
        expected = {(str(key), str(digest)) for key, digest in cursor.fetchall()}
        cursor.execute("DROP TABLE doubles")
    typed = spark.createDataFrame([(n, x, False) for n, x in enumerate(numbers)], "id INT, x DOUBLE, _deleted BOOLEAN")
    assert {(row["k"], row["d"]) for row in silver_rows(typed, table).collect()} == expected


def test_numbers_that_the_database_shows_in_another_way_are_compared_by_their_value(
    spark: SparkSession, nasty: Connection
) -> None:
    types = {"id": LogicalType.INTEGER, "padded": LogicalType.BIGINT, "since": LogicalType.INTEGER}
    columns = [Column(name=name, type=kind, nullable=True) for name, kind in types.items()]
    columns.append(Column(name="price", type=LogicalType.DECIMAL, precision=6, scale=2, nullable=True))
    columns.append(Column(name="x", type=LogicalType.DOUBLE, nullable=True))
    columns.append(Column(name="born", type=LogicalType.DATE, nullable=True, zero_is_null=True))
    table = Table(name="shown", key=("id",), columns=tuple(columns))
    with nasty.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute(
            "CREATE TABLE shown (id INT(8) ZEROFILL PRIMARY KEY, padded BIGINT(20) UNSIGNED ZEROFILL, since YEAR, "
            "price DECIMAL(6, 2) ZEROFILL, x FLOAT, born DATE)"
        )
        cursor.execute(
            "INSERT INTO shown VALUES (1, 9223372036854775807, 0, 1.5, 16777216, '0000-00-00'), "
            "(2, 42, 2025, 0, 3.4028234663852886e38, '2000-02-29'), (3, NULL, NULL, NULL, NULL, NULL)"
        )
        cursor.execute(source_query(nasty.engine, table))
        expected = {(str(key), str(digest)) for key, digest in cursor.fetchall()}
        cursor.execute("DROP TABLE shown")
        cursor.execute("SET SESSION sql_mode = 'TRADITIONAL'")
    day = date(2000, 2, 29)
    rows = [
        (1, 2**63 - 1, 0, Decimal("1.50"), 16777216.0, None, False),
        (2, 42, 2025, Decimal("0.00"), 3.4028234663852886e38, day, False),
        (3, None, None, None, None, None, False),
    ]
    schema = "id INT, padded BIGINT, since INT, price DECIMAL(6, 2), x DOUBLE, born DATE, _deleted BOOLEAN"
    found = silver_rows(spark.createDataFrame(rows, schema), table).collect()
    assert {(row["k"], row["d"]) for row in found} == expected


NO_VALUES = [
    (LogicalType.INTEGER, "5.7"),
    (LogicalType.INTEGER, "twelve"),
    (LogicalType.BOOLEAN, "perhaps"),
    (LogicalType.DATE, "2025-02-30"),
    (LogicalType.DATE, "12000-01-01"),
    (LogicalType.DECIMAL, "12.3456"),
    (LogicalType.DECIMAL, "123456789.5"),
    (LogicalType.DECIMAL, "1.0055e1"),
    (LogicalType.TIMESTAMP, "1700000000"),
    (LogicalType.TIMESTAMP, "2025-01-01"),
    (LogicalType.TIMESTAMP, "2025-01-01 25:00:00"),
]


def test_what_is_no_value_of_its_type_stays_as_it_came(spark: SparkSession) -> None:
    columns = [
        Column(name=f"c{number}", type=kind, precision=10, scale=2) for number, (kind, _) in enumerate(NO_VALUES)
    ]
    texts = tuple(text for _, text in NO_VALUES)
    rows = spark.createDataFrame([texts], ", ".join(f"{column.name} STRING" for column in columns))
    found = rows.selectExpr(*(f"{canonical_text(column, column.name)} AS {column.name}" for column in columns)).first()
    assert found is not None
    assert tuple(found) == texts


def as_bronze_texts(rows: Any) -> dict[int, str]:
    texts = [Column(name=column.name, type=LogicalType.STRING) for column in COLUMNS]
    return {int(row["id"]): row["text"] for row in rows.selectExpr("id", f"{spark_text(texts)} AS text").collect()}


def as_the_connector_spells_it(value: Any) -> str | None:
    """Decimals as texts, times and dates in ISO form with a zone, truth in words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat() + "Z"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return None if value is None else str(value)


def test_floating_point_numbers_of_the_connector_have_the_text_of_the_database(spark: SparkSession) -> None:
    """Spark writes a number as the connector does, by Java, which before version 19 wrote few with a digit too many."""
    numbers = [0.0, -0.0, 18.0, 14.4, 0.1, -1.5, 1e14, 1e15, 1.23e20, 1e300, 1e-15, 1e-16, 1.5e-7, 999999999999999.9]
    numbers += [1626983080611305.8, 123456789012345678.0, 2e-3, 1e7, 12345678.9, math.inf, -math.inf, math.nan]
    numbers += [sign * some * 10.0**n for n in range(-18, 21) for some in (1, 1.5, 1.2345) for sign in (1, -1)]
    raw = spark.createDataFrame([(number,) for number in numbers], "x DOUBLE").selectExpr(
        "x", "CAST(x AS STRING) AS raw"
    )
    column = Column(name="x", type=LogicalType.DOUBLE)
    found = raw.selectExpr("x", "raw", f"{canonical_text(column, 'raw')} AS text").collect()
    different = {row["raw"]: row["text"] for row in found if row["text"] != double_text(row["x"])}
    assert different == {}
    odd = spark.createDataFrame([("x",), ("1.5e3",), ("12",)], "raw STRING")
    assert [row[0] for row in odd.selectExpr(canonical_text(column, "raw")).collect()] == ["x", "1.5e3", "12"]


def test_bronze_is_compared_with_the_columns_and_digits_of_the_definition(spark: SparkSession) -> None:
    price = Column(name="price", type=LogicalType.DECIMAL, precision=10, scale=3)
    note = Column(name="note", type=LogicalType.STRING, nullable=True)
    table = Table(name="t", key=("id",), columns=(Column(name="id", type=LogicalType.INTEGER), price, note))
    landed = [("1", "0.50", "s1", "old"), ("2", "much", "s1", "old"), ("1", "7.25", "s2", "new")]
    names = "id STRING, price STRING, _sequence STRING, _row_hash STRING"
    bronze = small_frame(spark, landed, names).selectExpr("*", "'x' AS gone", "'r' AS _op")
    texts = {"1:1": "1:15:7.250-", "1:2": "1:24:much-"}
    found = {row["k"]: row["d"] for row in bronze_rows(bronze, table, is_exact=True).collect()}
    assert found == {key: md5(text.encode(), usedforsecurity=False).hexdigest() for key, text in texts.items()}
    assert {row["d"] for row in bronze_rows(bronze, table).collect()} == {"new", "old"}
