"""Reads a source table over JDBC; the database itself converts every value to its canonical text.

For this reason, no driver, dialect or time zone can alter a value: microseconds and decimals arrive exactly as stored.
"""

from __future__ import annotations

from typing import Final

from mysql.connector.connection import MySQLConnection
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.table import table_error
from batch.storage.canonical import mysql_value
from config.definition import LogicalType, Table
from config.settings import DatabaseSettings

FETCH_ROWS: Final = 10_000
"""Number of rows per fetch; without a limit, the JDBC driver would load the whole table into memory."""

_KINDS: Final = {
    LogicalType.UUID: {"char", "varchar", "uuid"},
    LogicalType.STRING: {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"},
    LogicalType.INTEGER: {"tinyint", "smallint", "mediumint", "int", "year"},
    LogicalType.BIGINT: {"tinyint", "smallint", "mediumint", "int", "bigint", "year"},
    LogicalType.DECIMAL: {"decimal"},
    LogicalType.DOUBLE: {"float", "double"},
    LogicalType.BOOLEAN: {"tinyint", "bit", "boolean"},
    LogicalType.DATE: {"date"},
    LogicalType.TIMESTAMP: {"datetime", "timestamp"},
}


def read_source(spark: SparkSession, settings: DatabaseSettings, database: str, table: Table, where: str) -> DataFrame:
    """Return the rows of a source table that satisfy `where`, an SQL condition; all values are strings.

    The URL scheme and the driver differ on purpose: with `jdbc:mariadb`, Spark quotes column names in a way that
    MariaDB interprets as string literals, so each value would be the name of its column.
    """
    values = ", ".join(f"{mysql_value(column)} AS `{column.name}`" for column in table.columns)
    query = f"(SELECT {values} FROM `{table.name}` WHERE {where}) AS source"  # noqa: S608 - the definition's own names
    url = f"jdbc:mysql://{settings.host}:{settings.port}/{database}?permitMysqlScheme"
    reader = spark.read.format("jdbc").option("url", url).option("driver", "org.mariadb.jdbc.Driver")
    reader = reader.option("user", settings.user).option("password", settings.password)
    reader = reader.option("sessionInitStatement", "SET time_zone = '+00:00'")
    rows = reader.option("dbtable", query).option("fetchsize", FETCH_ROWS).load()
    return rows.select(*(F.col(name).cast("string").alias(name) for name in table.column_names))


def check_columns(connection: MySQLConnection, table: Table) -> tuple[str, ...]:
    """Check that the source has the definition's columns; return the names of any columns that the definition lacks.

    Raises:
        BatchError: the source lacks the table or a column of the definition, or a column has another type.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            (table.name,),
        )
        found = {_text(row[0]): _text(row[1]).lower() for row in cursor.fetchall()}  # type: ignore[index]
    if not found:
        raise table_error(table, "table not found in the source: create it, or remove it from the definition")
    faults = [f"{column.name} is missing" for column in table.columns if column.name not in found]
    faults += [
        f"{column.name} has type {found[column.name]} instead of {column.type}"
        for column in table.columns
        if column.name in found and found[column.name] not in _KINDS[column.type]
    ]
    if faults:
        what = f"columns of the source differ from the definition ({'; '.join(faults)})"
        raise table_error(table, f"{what}: nothing was written; change the definition, then run again")
    return tuple(sorted(set(found) - set(table.column_names)))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes | bytearray) else str(value)
