"""The canonical text of a row: identical characters from Spark and from the source database.

A value is `-` for NULL, else `<number of characters>:<text>`; a row is the concatenation of its values. Integers are
plain, decimals have their scale, times are `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, dates ISO, booleans 0 or 1.
Floating-point numbers are formatted by each side, with differences for some values: do not compare them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from config.definition import Column, LogicalType

_MYSQL: Final = {
    LogicalType.BOOLEAN: "CAST({0} <> 0 AS CHAR)",
    LogicalType.DATE: "DATE_FORMAT({0}, '%Y-%m-%d')",
    LogicalType.TIMESTAMP: "DATE_FORMAT({0}, '%Y-%m-%d %H:%i:%S.%f')",
    LogicalType.UUID: "CONVERT({0} USING utf8mb4)",
    LogicalType.STRING: "CONVERT({0} USING utf8mb4)",
}
_SPARK: Final = {
    LogicalType.BOOLEAN: "CAST(CAST({0} AS INT) AS STRING)",
    LogicalType.DATE: "date_format({0}, 'yyyy-MM-dd')",
    LogicalType.TIMESTAMP: "date_format({0}, 'yyyy-MM-dd HH:mm:ss.SSSSSS')",
}


def mysql_text(columns: Sequence[Column]) -> str:
    """Return an SQL expression for the canonical text of columns, for MySQL or MariaDB in a session in UTC."""
    texts = [mysql_value(column) for column in columns]
    values = (f"COALESCE(CONCAT(CHAR_LENGTH({text}), ':', {text}), '-')" for text in texts)
    return f"CONCAT({', '.join(values)})"


def mysql_value(column: Column) -> str:
    """Return an SQL expression for the text of one value, without its length, for MySQL or MariaDB; NULL stays NULL."""
    return _MYSQL.get(column.type, "CAST({0} AS CHAR)").format(f"`{column.name}`")


def spark_text(columns: Sequence[Column]) -> str:
    """Return a Spark SQL expression for the canonical text of typed columns."""
    texts = [_SPARK.get(column.type, "CAST({0} AS STRING)").format(f"`{column.name}`") for column in columns]
    values = (f"coalesce(concat(char_length({text}), ':', {text}), '-')" for text in texts)
    return f"concat({', '.join(values)})"


def time_text(time: datetime) -> str:
    """Return the canonical text of a time."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
