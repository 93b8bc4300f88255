"""Goal: lists of runs and versions are complete, and unknown tables and values are errors that name them.

Method: hand-made manifests.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from batch.commands.inspect import version_of
from batch.console.arguments import count
from batch.errors import BatchError
from batch.pipeline.history import format_runs, format_writes, run_members, write_members, writes
from batch.pipeline.manifest import Manifest, TableRun
from batch.pipeline.plan import check_choice, layer_of, table_names
from batch.reconcile.queries import ORACLES
from config.dataset import load_definition

NOON = datetime(2025, 5, 6, 12, tzinfo=UTC)
PROJECT = load_definition("project_db")


def manifest(number: int, *tables: TableRun) -> Manifest:
    began = NOON + timedelta(minutes=number)
    ended = began + timedelta(seconds=4.2)
    versions = {table.name: table.version for table in tables if table.version is not None}
    return Manifest(
        run_id=f"run-{number}", dataset="d", started_at=began, ended_at=ended, tables=list(tables), versions=versions
    )


RUNS = [
    manifest(2, TableRun(layer="silver", table="orders", error="broken"), TableRun(layer="gold", table="fact_orders")),
    manifest(1, TableRun(layer="silver", table="orders", version=7, rows_written=1_200, rejected={"type(id)": 3})),
    manifest(0, TableRun(layer="silver", table="orders", version=6, unchanged=True)),
]


def test_runs_are_listed_with_what_failed() -> None:
    lines = [line.split() for line in format_runs(RUNS).splitlines()]
    assert lines[0] == ["RUN", "STARTED", "SECONDS", "ROWS", "RULES"]
    assert lines[1] == ["run-2", "2025-05-06", "12:02:00Z", "4.2", "0", "0", "failed:", "silver/orders"]
    assert lines[2] == ["run-1", "2025-05-06", "12:01:00Z", "4.2", "1,200", "3", "done"]


def test_versions_of_a_table_are_listed_without_runs_that_left_it_alone() -> None:
    lines = format_writes(list(writes(RUNS, "orders"))).splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["run-2", "silver", "-", "FAILED", "after", "0.0", "s:", "broken"]
    assert "1,200 rows written, 3 × type(id), version 7" in lines[2]


def test_the_limit_counts_versions_and_no_more_runs_are_read_than_needed() -> None:
    read: list[str] = []

    def runs() -> Iterator[Manifest]:
        for run in [RUNS[2]] * 30 + RUNS:
            read.append(run.run_id)
            yield run

    [found] = islice(writes(runs(), "orders"), 1)
    assert found.run.run_id == "run-2"
    assert read == ["run-0"] * 30 + ["run-2"]


def test_runs_and_versions_are_data_for_programs() -> None:
    assert run_members(RUNS[0])["failed"] == ["silver/orders"]
    assert run_members(RUNS[1])["rows_written"] == 1_200
    versions = [write_members(each) for each in writes(RUNS, "orders")]
    assert [(each["run_id"], each["version"], each["error"]) for each in versions] == [
        ("run-2", None, "broken"),
        ("run-1", 7, None),
    ]


def test_a_table_without_a_version_is_an_error_that_names_it() -> None:
    assert version_of(RUNS[1], "silver", "orders") == 7
    with pytest.raises(BatchError) as raised:
        version_of(RUNS[1], "gold", "dim_date")
    assert (raised.value.layer, raised.value.table) == ("gold", "dim_date")


def test_the_default_layer_is_silver_unless_only_gold_has_the_table() -> None:
    assert layer_of(PROJECT, "orders") == "silver"
    assert layer_of(PROJECT, "dim_date") == "gold"
    with pytest.raises(BatchError, match="'nonsense'"):
        layer_of(PROJECT, "nonsense")
    with pytest.raises(BatchError, match=r"project_db .*'orders'.* gold: dim_customer") as raised:
        check_choice(PROJECT, layer="gold", table="orders")
    assert raised.value.layer == "gold"


def test_every_gold_table_has_an_oracle() -> None:
    oracles = {path.stem for path in Path(PROJECT.folder, ORACLES).glob("*.sql")}
    assert oracles == set(table_names(PROJECT, "gold"))


@pytest.mark.parametrize("text", ["0", "-1", "x", ""])
def test_an_invalid_count_is_an_error(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        count(text)
