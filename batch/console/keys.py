"""Parses row keys given on the command line into the canonical texts of their values (`batch.storage.canonical`).

A key of one column is given as its value, `--key 7`; a composite key names its columns, in any order:
`--key order_id=6f1…,product_id=5`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from batch.errors import BatchError
from batch.storage.canonical import time_text
from config import parsing
from config.definition import Column, LogicalType, Table

_TRUTH: Final = {"0": "0", "false": "0", "1": "1", "true": "1"}


def parsed_key(table: Table, text: str) -> tuple[str, ...]:
    """Parse a row key and return the canonical text of each value, in the order of `table.key`.

    Raises:
        BatchError: the text is not a valid key of this table; the message shows the expected form.
    """
    columns = {column.name: column for column in table.columns}
    values = {table.key[0]: text} if len(table.key) == 1 else _named(table, text)
    return tuple(_canonical(table, columns[name], values[name]) for name in table.key)


def _named(table: Table, text: str) -> Mapping[str, str]:
    """Split a composite key into values by column; a comma separates values only if `<key column>=` follows."""
    names = "|".join(re.escape(name) for name in table.key)
    parts = [part.partition("=") for part in re.split(rf",(?=(?:{names})=)", text)]
    found = {name.strip(): value for name, _, value in parts}
    if len(parts) != len(table.key) or found.keys() != set(table.key):
        form = ",".join(f"{name}=…" for name in table.key)
        raise BatchError(f"invalid key {text!r}: use --key {form}", table=table.name)
    return found


def _canonical(table: Table, column: Column, text: str) -> str:
    try:
        return _FORMS[column.type](column, text.strip())
    except (ValueError, InvalidOperation, KeyError):
        what = f"invalid value {text!r} for key column {column.name} of type {column.type}"
        raise BatchError(f"{what}: write the value as the source stores it", table=table.name) from None


def _text(_column: Column, text: str) -> str:
    if not text:
        raise ValueError
    return text


def _whole(_column: Column, text: str) -> str:
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        raise ValueError
    return str(int(text))


def _decimal(column: Column, text: str) -> str:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError
    return f"{number:.{column.scale}f}"


def _unsupported(_column: Column, _text: str) -> str:
    raise ValueError


_FORMS: Final[Mapping[LogicalType, Callable[[Column, str], str]]] = {
    LogicalType.UUID: _text,
    LogicalType.STRING: _text,
    LogicalType.INTEGER: _whole,
    LogicalType.BIGINT: _whole,
    LogicalType.DECIMAL: _decimal,
    LogicalType.DOUBLE: _unsupported,
    LogicalType.BOOLEAN: lambda _, text: _TRUTH[text.lower()],
    LogicalType.DATE: lambda _, text: date.fromisoformat(text).isoformat(),
    LogicalType.TIMESTAMP: lambda _, text: time_text(parsing.absolute_time(text)),
    LogicalType.TIME: _text,
    LogicalType.INTERVAL: _text,
    LogicalType.BINARY: _text,
    LogicalType.ARRAY: _text,
}


def parsed_keys(table: Table, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Parse several row keys and drop duplicates."""
    return list(dict.fromkeys(parsed_key(table, text) for text in texts))
