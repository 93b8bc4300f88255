"""Goal: the warehouse gets values that PostgreSQL reads, also of those that the connector writes in its own way.

Method: the examples of docs/reference/postgres-types.md, by which a test of the lake checks a real connector.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from config.definition import Column, LogicalType, Table, WarehouseTable
from streams.model.change import change_decoder
from streams.model.warehouse import warehouse_tables
from tests.support.builders import created

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "postgres-types.md"


def kept(kind: LogicalType, value: str) -> Any:
    """What the warehouse is sent for a value of the source."""
    digits: dict[str, Any] = {"precision": 38, "scale": 9} if kind is LogicalType.DECIMAL else {}
    columns = (Column(name="id", type=LogicalType.INTEGER), Column(name="value", type=kind, nullable=True, **digits))
    target = WarehouseTable(table="t", kind="fact")
    [table] = warehouse_tables([Table(name="t", key=("id",), columns=columns, warehouse=target)])
    change = change_decoder(table.struct(), key_of=table.record_key)(b"1", created({"id": 1, "value": value}))
    return table.row_maker()(change, 0).values[1]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [LogicalType.DATE, LogicalType.TIMESTAMP, LogicalType.DECIMAL])
def test_infinite_values_are_infinite_in_the_warehouse(kind: LogicalType) -> None:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if re.search(rf"\| `{kind}[`(]", line)]
    for sign, written in (("", "infinity"), ("-", "-infinity")):
        shown = [line for line in lines if re.search(rf"'{sign}infinity'", line, re.IGNORECASE)]
        texts = [text for line in shown for text in re.findall(r'"([^"]+)"', line)]
        assert [kept(kind, text).lower() for text in texts] == [written] * len(texts)
    assert any("infinity" in line.lower() for line in lines)


@pytest.mark.parametrize(
    ("kind", "text"),
    [(LogicalType.DATE, "2026-01-02Z"), (LogicalType.TIMESTAMP, "2026-01-02T03:04:05Z"), (LogicalType.DECIMAL, "1.50")],
)
def test_other_values_stay_as_they_are(kind: LogicalType, text: str) -> None:
    assert kept(kind, text) == text
