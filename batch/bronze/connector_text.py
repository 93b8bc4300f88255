"""Converts values from the connector's text format to canonical text (`batch.storage.canonical`).

The connector writes times (`2025-01-01T00:00:00.5Z`), dates (`2025-01-01Z`), booleans (`true`) and trailing zeros of
decimals differently. A value that is invalid for its column's type is kept unchanged; Silver quarantines its row.
"""

from __future__ import annotations

from typing import Final

from batch.storage.canonical import decimal_digits, decimal_of
from config.definition import Column, LogicalType

_WHOLE: Final = "rlike '^[+-]?[0-9]{1,30}$'"
_DATE: Final = "rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2}Z?$'"
_TIME: Final = r"rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+]00:00)?$'"


def canonical_text(column: Column, raw: str) -> str:
    """Return a Spark SQL expression that converts `raw`, an expression for the connector's text, to canonical text."""
    kind = column.type
    if kind in (LogicalType.INTEGER, LogicalType.BIGINT):
        text = f"IF({raw} {_WHOLE}, CAST(try_cast({raw} AS DECIMAL(38, 0)) AS STRING), NULL)"
    elif kind is LogicalType.DECIMAL:
        text = f"CAST({decimal_of(raw, *decimal_digits(column))} AS STRING)"
    elif kind is LogicalType.BOOLEAN:
        text = f"CASE lower({raw}) WHEN 'true' THEN '1' WHEN 'false' THEN '0' END"
    elif kind is LogicalType.DATE:
        text = f"IF({raw} {_DATE}, date_format(try_cast(left({raw}, 10) AS DATE), 'yyyy-MM-dd'), NULL)"
    elif kind is LogicalType.TIMESTAMP:
        is_time = f"{raw} {_TIME} AND try_cast({raw} AS TIMESTAMP) IS NOT NULL"
        digits = f"left(substring_index(substring_index(substr({raw}, 21), 'Z', 1), '+', 1), 6)"
        fraction = f"IF(substr({raw}, 20, 1) = '.', rpad({digits}, 6, '0'), '000000')"
        # Rearranging the characters of the text is faster than parsing and formatting a timestamp.
        text = f"IF({is_time}, concat(left({raw}, 10), ' ', substr({raw}, 12, 8), '.', {fraction}), NULL)"
    else:
        return raw
    return f"coalesce({text}, {raw})"
