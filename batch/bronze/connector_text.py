"""Converts values from the connector's text format to canonical text (`batch.storage.canonical`).

The connector writes times (`2025-01-01T00:00:00.5Z`), dates (`2025-01-01Z`), booleans (`true`) and trailing zeros of
decimals differently, and floating-point numbers with another exponent. A value that is invalid for its column's type is
kept unchanged; Silver quarantines its row.
"""

from __future__ import annotations

from typing import Final

from batch.storage.canonical import decimal_digits, decimal_of
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
    elif kind is LogicalType.DOUBLE:
        text = _double_text(raw)
    else:
        return raw
    return f"coalesce({text}, {raw})"


def _decimal_text(column: Column, raw: str) -> str:
    """Return the text of a decimal; one with more digits than the column has stays as it is, as in the database."""
    fits = f"CAST({decimal_of(raw, *decimal_digits(column))} AS STRING)"
    others = " ".join(f"WHEN '{text}' THEN '{canonical}'" for text, canonical in _NUMBERS.items())
    return f"coalesce({fits}, CASE {raw} {others} END)"


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
