"""Goal: the warehouse's worker says which columns of the source its tables lack, and the other way round, once each.

Method: changes as the connector writes them; no server.
"""

from __future__ import annotations

import json
import logging

import pytest

from config.dataset import load_definition
from streams.model.column_names import column_names
from streams.model.warehouse import warehouse_tables
from tables.warehouse.drift import ColumnDrift
from tests.support.builders import created, deleted, position

[CUSTOMERS] = [
    table for table in warehouse_tables(load_definition("project_db").tables) if table.name == "dim_customers"
]
ROW = dict.fromkeys((column.name for column in CUSTOMERS.source.columns), "x")
RENAMED = {name: value for name, value in ROW.items() if name != "phone"} | {"mobile": "x"}


def drift_after(*rows: dict[str, str]) -> ColumnDrift:
    drift = ColumnDrift()
    for place, row in enumerate(rows, 1):
        drift.note(CUSTOMERS, created(row, position(place)), position(place))
    return drift


def logged(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [record.levelno for record in caplog.records if record.name == "tables.warehouse.drift"]


def test_a_renamed_column_is_unknown_and_missing_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    drift = drift_after(ROW, RENAMED, RENAMED)
    assert drift.figures() == {"drift": {"dim_customers": {"unknown": ["mobile"], "missing": ["phone"]}}}
    [family] = drift.collect()
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"table": "dim_customers"}, 2)]
    assert logged(caplog) == [logging.WARNING] * 2


def test_a_column_that_is_back_ends_the_drift(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    drift = drift_after(RENAMED, ROW)
    assert drift.figures() == {"drift": {}}
    assert logged(caplog) == [logging.WARNING, logging.WARNING, logging.INFO]


def test_an_older_change_that_arrives_later_says_nothing() -> None:
    drift = ColumnDrift()
    for place, row in ((2, RENAMED), (1, ROW)):
        drift.note(CUSTOMERS, created(row, position(place)), position(place))
    assert drift.figures()["drift"].keys() == {"dim_customers"}


def test_the_columns_of_a_change_are_those_of_its_row_in_either_form() -> None:
    wrapped = json.dumps({"payload": json.loads(created(ROW))}).encode()
    for value in (created(ROW), deleted(ROW), wrapped):
        assert column_names(value) == ROW.keys()
