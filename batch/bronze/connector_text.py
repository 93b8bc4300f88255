"""Converts values from the connector's text format to canonical text (`batch.storage.canonical`).

The connector writes times (`2025-01-01T00:00:00.5Z`), dates (`2025-01-01Z`), booleans (`true`) and trailing zeros of
decimals differently. A value that is invalid for its column's type is kept unchanged; Silver quarantines its row.
"""

from __future__ import annotations

from typing import Final

from config.definition import Column, LogicalType

_WHOLE: Final = "rlike '^[+-]?[0-9]{1,30}$'"
_DATE: Final = "rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2}Z?$'"
_CLOCK: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?"
_TIME: Final = rf"rlike '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[ T]{_CLOCK}(Z|[+]00:00)?$'"

_NUMBERS: Final = {"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}
"""PostgreSQL's decimals that are no numbers: the connector's text, and the database's."""

# What the connector's snapshot and its stream make of PostgreSQL's infinite dates and times.
_INFINITE: Final = "'+292278994-08-16Z', '+5877611-06-21Z', '+292278994-08-16T23:00:00Z'"
_MINUS_INFINITE: Final = "'+292269055-12-02Z', '-5877611-06-22Z', '-292275055-05-16T23:00:00Z'"
_FAR: Final = r"'^([+-])([0-9]{4,7})(-[0-9]{2}-[0-9]{2})(T([0-9]{2}:[0-9]{2}:[0-9]{2})([.]([0-9]{1,6}))?)?Z$'"


def canonical_text(column: Column, raw: str) -> str:
    """Return a Spark SQL expression that converts `raw`, an expression for the connector's text, to canonical text."""
    kind = column.type
    if kind in (LogicalType.INTEGER, LogicalType.BIGINT):
        text = f"IF({raw} {_WHOLE}, CAST(try_cast({raw} AS DECIMAL(38, 0)) AS STRING), NULL)"
    elif kind is LogicalType.DECIMAL:
        text = _decimal_text(column, raw)
    elif kind is LogicalType.BOOLEAN:
        text = f"CASE lower({raw}) WHEN 'true' THEN '1' WHEN 'false' THEN '0' END"
    elif kind is LogicalType.DATE:
        day = f"IF({raw} {_DATE}, date_format(try_cast(left({raw}, 10) AS DATE), 'yyyy-MM-dd'), NULL)"
        text = f"IF(left({raw}, 1) IN ('+', '-'), {_far_text(raw)}, {day})"
    elif kind is LogicalType.TIMESTAMP:
        is_time = f"{raw} {_TIME} AND try_cast({raw} AS TIMESTAMP) IS NOT NULL"
        # Rearranging the characters of the text is faster than parsing and formatting a timestamp.
        time = f"concat(left({raw}, 10), ' ', {_clock_text(f'substr({raw}, 12)')})"
        text = f"IF(left({raw}, 1) IN ('+', '-'), {_far_text(raw)}, IF({is_time}, {time}, NULL))"
    elif kind is LogicalType.TIME:
        text = f"IF({raw} rlike '^{_CLOCK}Z?$', {_clock_text(raw)}, NULL)"
    else:
        return raw
    return f"coalesce({text}, {raw})"


def _decimal_text(column: Column, raw: str) -> str:
    """A number with more decimals than the column has stays as it is, as in the database's own text."""
    fits = f"CAST(try_cast({raw} AS DECIMAL({column.precision}, {column.scale})) AS STRING)"
    others = " ".join(f"WHEN '{text}' THEN '{canonical}'" for text, canonical in _NUMBERS.items())
    return f"IF({raw} rlike '[.][0-9]{{{column.scale}}}[0-9]*[1-9]', NULL, coalesce({fits}, CASE {raw} {others} END))"


def _clock_text(raw: str) -> str:
    """Give a time of day all six decimals."""
    digits = f"left(substring_index(substring_index(substr({raw}, 10), 'Z', 1), '+', 1), 6)"
    return f"concat(left({raw}, 8), '.', IF(substr({raw}, 9, 1) = '.', rpad({digits}, 6, '0'), '000000'))"


def _far_text(raw: str) -> str:
    """Return the text of PostgreSQL's dates and times that are infinite, or whose year has a sign."""
    sign, year, day, clock, fraction = (f"regexp_extract({raw}, {_FAR}, {group})" for group in (1, 2, 3, 5, 7))
    years = f"IF({sign} = '-', lpad(CAST({year} AS INT) + 1, greatest(4, length({year})), '0'), {year})"
    time = f"IF({clock} = '', '', concat(' ', {clock}, '.', rpad({fraction}, 6, '0')))"
    far = f"concat({years}, {day}, {time}, IF({sign} = '-', ' BC', ''))"
    return (
        f"CASE WHEN {raw} IN ({_INFINITE}) THEN 'infinity' WHEN {raw} IN ({_MINUS_INFINITE}) THEN '-infinity' "
        f"WHEN {raw} rlike {_FAR} THEN {far} END"
    )
