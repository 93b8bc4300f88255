"""A warehouse of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.local import Stack
from tests.streams.warehouse.warehouse_rows import Warehouse, warehouse_of


@pytest.fixture
def warehouse(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """The tables of a small dataset, empty."""
    with warehouse_of(stack, tmp_path, monkeypatch) as warehouse:
        yield warehouse
