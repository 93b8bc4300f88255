"""Converts values from the connector's text format to canonical text (`batch.storage.canonical`).

The connector writes times (`2025-01-01T00:00:00.5Z`), dates (`2025-01-01Z`), booleans (`true`) and trailing zeros of
decimals differently, and floating-point numbers with another exponent. A value that is invalid for its column's type is
kept unchanged; Silver quarantines its row.
"""

from __future__ import annotations

from typing import Final

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
        text = f"CAST(try_cast({raw} AS DECIMAL({column.precision}, {column.scale})) AS STRING)"
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
    elif kind is LogicalType.DOUBLE:
        text = _double_text(raw)
    else:
        return raw
    return f"coalesce({text}, {raw})"


def _double_text(raw: str) -> str:
    """Move the point of Java's text (`18.0`, `1.5E-7`) as `batch.storage.canonical.double_text` does."""
    sign, exponent = f"IF(left({raw}, 1) = '-', '-', '')", f"try_cast(substring_index({raw}, 'E', -1) AS INT)"
    digits = f"regexp_replace(translate(substring_index({raw}, 'E', 1), '-.', ''), '0+$', '')"
    power = f"concat({sign}, left({digits}, 1), {_decimals(digits, '2')}, 'e', {exponent})"
    small = f"concat({sign}, '0.', repeat('0', -{exponent} - 1), {digits})"
    whole = f"left(rpad({digits}, {exponent} + 1, '0'), {exponent} + 1)"
    large = f"concat({sign}, {whole}, {_decimals(digits, f'{exponent} + 2')})"
    is_power = f"{exponent} < -15 OR ({exponent} > 14 AND length({digits}) <= {exponent} + 1)"
    moved = f"CASE WHEN {is_power} THEN {power} WHEN {exponent} < 0 THEN {small} ELSE {large} END"
    plain = f"IF({raw} rlike '^-?0[.]0$', '0', regexp_replace({raw}, '[.]0$', ''))"
    return (
        f"CASE {raw} WHEN 'NaN' THEN 'nan' WHEN 'Infinity' THEN 'inf' WHEN '-Infinity' THEN '-inf' ELSE "
        f"CASE WHEN {raw} rlike '^-?[0-9]+[.][0-9]+$' THEN {plain} "
        f"WHEN {raw} rlike '^-?[0-9][.][0-9]+E-?[0-9]{{1,3}}$' THEN {moved} END END"
    )


def _decimals(digits: str, start: str) -> str:
    """Return the digits from `start` on behind a point; nothing if there are none."""
    return f"regexp_replace(concat('.', substr({digits}, {start})), '[.]$', '')"
