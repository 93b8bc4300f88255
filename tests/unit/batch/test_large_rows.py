"""Goal: the database measures rows that may be long before it sends them, and no others.

Method: statements and sizes made by hand, with a stand-in for the database; no server, no Spark.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from batch.bronze.jdbc_rows import _value_unless_large
from batch.bronze.large_rows import FETCH_BYTES, FETCH_ROWS, Sizes, measured
from config.definition import Column, LogicalType, Table
from config.engines import ENGINES
from config.engines.mysql import MySQL

ID, NAME, NOTE, DATA = (
    Column(name="id", type=LogicalType.STRING),
    Column(name="name", type=LogicalType.STRING, length=40),
    Column(name="note", type=LogicalType.STRING, nullable=True),
    Column(name="data", type=LogicalType.BINARY, nullable=True),
)
TABLE = Table(name="things", key=("id",), columns=(ID, NAME, NOTE))
CONTEXT: Any = SimpleNamespace(settings=SimpleNamespace(row_max_bytes=1_000))


class Source:
    """A database whose largest row has some bytes."""

    engine = MySQL()

    def __init__(self, note: str, largest: int = 0) -> None:
        self.asked: list[str] = []
        self._kinds = [("things", "id", "text"), ("things", "name", "varchar"), ("things", "note", note)]
        self._largest = largest

    def rows(self, _: str) -> list[tuple[str, str, str]]:
        return self._kinds

    def value(self, statement: str) -> int:
        self.asked.append(statement)
        return self._largest


def sizes(source: Any) -> Sizes:
    return measured(source, TABLE, "id > 7", CONTEXT)


def test_a_table_whose_values_are_short_is_not_measured() -> None:
    source = Source("varchar")
    found = sizes(source)
    assert (source.asked, found.has_larger, found.fetch_rows) == ([], False, FETCH_ROWS)


def test_columns_of_long_types_are_measured_but_never_those_of_the_key() -> None:
    source = Source("longtext", largest=1_001)
    found = sizes(source)
    assert source.asked == ["SELECT COALESCE(MAX(COALESCE(LENGTH(`note`), 0)), 0) FROM `things` WHERE id > 7"]
    assert [found.has_larger, sizes(Source("longtext", largest=1_000)).has_larger] == [True, False]


@pytest.mark.parametrize(
    ("largest", "allowed", "rows"),
    [(0, 1_000, FETCH_ROWS), (100, 1_000, FETCH_ROWS), (2**20, 2**25, 64), (2**40, 2**25, 2), (2**30, 2**30, 1)],
)
def test_a_fetch_is_bounded_in_bytes(largest: int, allowed: int, rows: int) -> None:
    found = Sizes(columns=[NOTE], largest=largest, allowed=allowed)
    assert found.fetch_rows == rows
    assert rows == 1 or rows * min(largest, allowed) <= FETCH_BYTES


def test_of_a_row_that_is_too_large_only_the_short_values_are_read() -> None:
    value = _value_unless_large(MySQL(), Sizes(columns=[NOTE], largest=2, allowed=1))
    text = "CONVERT(`note` USING utf8mb4)"
    assert value(NOTE) == f"CASE WHEN COALESCE(LENGTH(`note`), 0) <= 1 THEN {text} END"
    assert value(ID) == "CONVERT(`id` USING utf8mb4)"
    assert _value_unless_large(MySQL(), Sizes(columns=[NOTE], largest=1, allowed=1))(NOTE) == text


def test_the_size_of_bytes_is_that_of_their_hexadecimal_digits() -> None:
    postgres = ENGINES["postgres"]
    assert postgres.size(DATA) == '2 * octet_length("data")::bigint'
    assert postgres.size(NOTE) == 'octet_length("note"::text)::bigint'
