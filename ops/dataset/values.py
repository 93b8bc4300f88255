"""Validate CSV fields against the logical types of their columns, and convert them to SQL literals, without I/O.

Validation and quoting are one step for speed, because millions of rows pass through: each column gets one function
`text -> literal` that raises `ValueError` with the reason.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from decimal import Decimal

from config.definition import Column, LogicalType

NULL_TEXTS = ("", "\\N")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_BINARY = re.compile(r"(?:[0-9a-fA-F]{2})*").fullmatch
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}").fullmatch
_DECIMAL = re.compile(r"[+-]?([0-9]+)(?:\.([0-9]+))?").fullmatch
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
).fullmatch

Parser = Callable[[str], str]
Literal = Callable[[str], str]
"""Quotes a text as a literal of the database (`config.engines.base.Engine.literal`)."""


def column_parser(column: Column, literal: Literal) -> Parser:
    """Return the function that converts a CSV field of this column to an SQL literal."""
    parse = _parser(column, literal)
    if column.nullable:
        return lambda text: "NULL" if text in NULL_TEXTS else parse(text)
    return parse


def fault(column: Column, text: str, literal: Literal) -> str | None:
    """Explain why `text` is not a valid value of the column; return None if it is."""
    if text in NULL_TEXTS and not column.nullable:
        return f"{column.name} is NULL, which the column does not allow"
    try:
        column_parser(column, literal)(text)
    except ValueError as error:
        return f"{column.name} {error}"
    return None


def _parser(column: Column, literal: Literal) -> Parser:
    match column.type:
        case LogicalType.UUID:
            return _uuid
        case LogicalType.STRING:
            return _string(column.length, literal)
        case LogicalType.INTEGER:
            return _whole(32)
        case LogicalType.BIGINT:
            return _whole(64)
        case LogicalType.DECIMAL:
            assert column.precision is not None
            assert column.scale is not None
            return _decimal(column.precision, column.scale)
        case LogicalType.DOUBLE:
            return _double
        case LogicalType.BOOLEAN:
            return _boolean
        case LogicalType.DATE:
            return _date
        case LogicalType.TIMESTAMP:
            return _timestamp
        case LogicalType.TIME | LogicalType.INTERVAL | LogicalType.ARRAY:
            return _string(None, literal)  # the database checks the text, and names what is wrong with it
        case LogicalType.BINARY:
            return _binary


def _uuid(text: str) -> str:
    if not _UUID(text):
        raise ValueError(f"is not a UUID: {shortened(text)}")
    return f"'{text}'"


def _string(length: int | None, literal: Literal) -> Parser:
    longest = math.inf if length is None else length

    def parse(text: str) -> str:
        if not text or text == "\\N":
            raise ValueError("must not be NULL")
        if len(text) > longest:
            raise ValueError(f"is too long: {len(text)} characters, at most {length}")
        return literal(text)

    return parse


def _binary(text: str) -> str:
    if not _BINARY(text):
        raise ValueError(f"is not a text of pairs of hexadecimal digits: {shortened(text)}")
    return f"'\\x{text}'"


def _whole(bits: int) -> Parser:
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    safe_length = len(str(highest))

    def parse(text: str) -> str:
        if not _WHOLE(text):
            raise ValueError(f"is not a whole number: {shortened(text)}")
        if len(text) >= safe_length and not lowest <= int(text) <= highest:
            raise ValueError(f"is out of range: {text}, allowed: {lowest} to {highest}")
        return text

    return parse


def _decimal(precision: int, scale: int) -> Parser:
    def parse(text: str) -> str:
        found = _DECIMAL(text)
        if not found:
            raise ValueError(f"is not a decimal number: {shortened(text)}")
        whole, fraction = found[1].lstrip("0"), (found[2] or "").rstrip("0")
        if len(whole) > precision - scale or len(fraction) > scale:
            raise ValueError(f"does not fit decimal({precision},{scale}): {shortened(text)}")
        return format(Decimal(text), "f")

    return parse


def _double(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"is not a number: {shortened(text)}") from None
    if not math.isfinite(value):
        raise ValueError(f"is not a finite number: {text}")
    return repr(value)


def _boolean(text: str) -> str:
    known = {"0": "FALSE", "false": "FALSE", "1": "TRUE", "true": "TRUE"}
    if text.lower() not in known:
        raise ValueError(f"is neither true nor false: {shortened(text)}")
    return known[text.lower()]


def _date(text: str) -> str:
    try:
        if not _DATE(text):
            raise ValueError
        datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"is not a date (YYYY-MM-DD): {shortened(text)}") from None
    return f"'{text}'"


def _timestamp(text: str) -> str:
    found = _TIMESTAMP(text)
    try:
        if not found:
            raise ValueError
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
            return f"'{moment.isoformat(' ', 'microseconds')}'"
    except (ValueError, OverflowError):
        raise ValueError(f"is not a time (YYYY-MM-DD HH:MM:SS[.ffffff][Z]): {shortened(text)}") from None
    return f"'{text}'"


def shortened(text: str) -> str:
    """Format a text for a message: quoted, with control characters escaped, cut to 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
