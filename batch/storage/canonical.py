"""The canonical text of a row, for which Spark and the source database produce identical characters.

The source database's expressions are `config.engines.base.Engine.value` and `row`.

NULL is written as `-`, and any other value as `<number of characters>:<text>`; a row is the concatenation of its
values. Integers have no padding, decimals have all digits of their scale, times are `YYYY-MM-DD HH:MM:SS.ffffff` in
UTC, dates are `YYYY-MM-DD`, and booleans are 0 or 1. Floating-point numbers have the fewest digits that identify the
number, as the database writes them (`double_text`); Spark writes them differently, so a DataFrame whose texts are
compared must have such columns as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from config.definition import Column, LogicalType

_SPARK: Final = {
    LogicalType.BOOLEAN: "CAST(CAST({0} AS INT) AS STRING)",
    LogicalType.DATE: "date_format({0}, 'yyyy-MM-dd')",
    LogicalType.TIMESTAMP: "date_format({0}, 'yyyy-MM-dd HH:mm:ss.SSSSSS')",
}


def double_text(value: float | None) -> str | None:
    """Return the canonical text of a floating-point number: without an exponent from 1e-15 to below 1e15.

    The database writes a number with decimals without an exponent even if it is larger.
    """
    if value is None:
        return None
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int):  # infinite or not a number, which a source cannot store
        return repr(value)
    text, point = "".join(map(str, digits)), len(digits) + exponent
    if point < -14 or (point > 15 and len(text) <= point):
        text = f"{text[0]}.{text[1:]}".rstrip(".") + f"e{point - 1}"
    elif point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[:point].ljust(point, '0')}.{text[point:]}".rstrip(".")
    return "-" * sign + text


def decimal_digits(column: Column) -> tuple[int, int]:
    """Return the precision and scale of a column of decimals, which every definition has (`config.contradictions`)."""
    assert column.precision is not None
    assert column.scale is not None
    return column.precision, column.scale


def decimal_of(text: str, precision: int, scale: int) -> str:
    """Return a Spark SQL expression for a text as a decimal; NULL if the text is no number or has further digits.

    A cast alone would round a number with more digits after the point.

    Args:
        text: SQL expression for the text.
    """
    number = f"try_cast({text} AS DECIMAL({precision}, {scale}))"
    is_plain = f"{text} RLIKE '^[+-]?[0-9]*([.][0-9]{{0,{scale}}}0*)?$'"
    is_equal = f"{text} RLIKE '[eE]' AND {number} = try_cast({text} AS DECIMAL(38, {38 - precision + scale}))"
    return f"IF({is_plain} OR ({is_equal}), {number}, NULL)"


def spark_text(columns: Sequence[Column]) -> str:
    """Return a Spark SQL expression for a row's canonical text; the DataFrame must have the types in `columns`.

    Columns of floating-point numbers must be text (`double_text`).
    """
    return joined_texts(_SPARK.get(column.type, "CAST({0} AS STRING)").format(f"`{column.name}`") for column in columns)


def joined_texts(texts: Iterable[str]) -> str:
    """Return a Spark SQL expression for a row's canonical text, given the expressions for the texts of its values."""
    values = (f"coalesce(concat(char_length({text}), ':', {text}), '-')" for text in texts)
    return f"concat({', '.join(values)})"


def row_hash(names: Sequence[str]) -> str:
    """Return a Spark SQL expression for the MD5 of a row's canonical text, given names of columns of canonical text."""
    return f"md5({spark_text([Column(name=name, type=LogicalType.STRING) for name in names])})"


def time_text(time: datetime) -> str:
    """Return the canonical text of a time, `YYYY-MM-DD HH:MM:SS.ffffff` in UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
