"""Parses the condition of `millrace lake export --where`; nothing of its text becomes part of a query.

    condition   comparison [AND comparison …]
    comparison  COLUMN =|!=|<|<=|>|>= VALUE    or    COLUMN IS [NOT] NULL
    value       a number, true, false, or a text in single quotes, in which two of them stand for one

A value is converted to the type of its column: `ordered_at >= '2025-01-31'` compares times. Times without a zone
are in UTC.
"""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from batch.errors import BatchError

_COMPARISON: Final = re.compile(
    r"\s*(?P<column>[A-Za-z_]\w*)\s*"
    r"(?:(?P<null>IS\s+(?P<not>NOT\s+)?NULL)\b"
    r"|(?P<operator>=|!=|<>|<=|>=|<|>)\s*(?:'(?P<text>(?:[^']|'')*)'|(?P<word>[-+]?[0-9.]+|true\b|false\b)))\s*",
    re.IGNORECASE,
)
_AND: Final = re.compile(r"AND\b", re.IGNORECASE)
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of a column with a value as text; without an operator, with NULL."""

    column: str
    operator: str | None = None
    value: str = ""
    is_null: bool = True


def parsed_condition(text: str) -> list[Comparison]:
    """Parse a condition.

    Raises:
        BatchError: the text is no condition; the message shows where.
    """
    found, at = [], 0
    while True:
        match = _COMPARISON.match(text, at)
        if match is None:
            raise _error(text, at)
        if match["null"]:
            found.append(Comparison(column=match["column"], is_null=match["not"] is None))
        else:
            value = match["word"] if match["text"] is None else match["text"].replace("''", "'")
            found.append(Comparison(column=match["column"], operator=match["operator"], value=value))
        at = match.end()
        if at == len(text):
            return found
        connective = _AND.match(text, at)
        if connective is None:
            raise _error(text, at)
        at = connective.end()


def filter_of(comparisons: list[Comparison], schema: pa.Schema) -> Any:
    """Return the condition as an expression of Arrow, or None if there are no comparisons.

    Raises:
        BatchError: a column does not exist, or a value is not of its column's type.
    """
    found = None
    for each in comparisons:
        if each.column not in schema.names:
            raise BatchError(f"--where: there is no column {each.column!r} (there are: {', '.join(schema.names)})")
        one = _expression(each, schema.field(each.column).type)
        found = one if found is None else found & one
    return found


def converted(text: str, kind: pa.DataType) -> pa.Scalar:
    """Return the value of an Arrow type that a text has; a time without a zone is in UTC.

    Raises:
        ArrowException: the text has no such value.
    """
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        with contextlib.suppress(pa.ArrowException):
            return pa.scalar(text).cast(pa.timestamp(kind.unit)).cast(kind)
    return pa.scalar(text).cast(kind)


def _expression(comparison: Comparison, kind: pa.DataType) -> Any:
    column = pc.field(comparison.column)
    if comparison.operator is None:
        return column.is_null() if comparison.is_null else column.is_valid()
    try:
        value = converted(comparison.value, kind)
    except pa.ArrowException:
        raise BatchError(f"--where: {comparison.value!r} is no value of {comparison.column}, a {kind}") from None
    return _OPERATORS[comparison.operator](column, value)


def _error(text: str, at: int) -> BatchError:
    rest = text[at : at + 30].strip() or "its end"
    form = "COLUMN = VALUE, with =, !=, <, <=, > or >=, or COLUMN IS [NOT] NULL, joined by AND; texts in single quotes"
    return BatchError(f"--where: cannot read the condition at {rest!r}: use {form}")
