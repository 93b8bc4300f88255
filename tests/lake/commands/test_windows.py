"""Goal: a lake that is fed by queries instead of changes gets what windows of time can show, and reconcile the rest.

Method: a copy of the shop's definition whose tables are read by JDBC, into a lake with a prefix of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from config.dataset import SHIPPED
from tests.support.lake.shop_statements import new_id, order
from tests.support.lake.testbed import LakeTestbed

EQUAL, DIFFERENT, BEHIND = 0, 1, 2
NAME = "project_windows"


@pytest.fixture(scope="module")
def windows(testbed: LakeTestbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeTestbed]:
    """The same shop, read by JDBC, after its first run."""
    datasets = tmp_path_factory.mktemp("datasets")
    folder = datasets / NAME
    shutil.copytree(SHIPPED / "project_db", folder)
    _read_by_jdbc(folder / "definition.yaml")
    more = {"DATASETS_DIR": str(datasets), "DATASET": NAME, "WINDOW_SAFETY_S": "0.1", "WINDOW_OVERLAP_S": "2"}
    windows = LakeTestbed(testbed.stack, tmp_path_factory.mktemp("windows"), shell=testbed.shell, **more)
    windows.batch("run", "--wait")
    yield windows
    windows.close()


def _read_by_jdbc(path: Path) -> None:
    definition = yaml.safe_load(path.read_text())
    definition |= {"name": NAME, "lake_prefix": "windows"}
    del definition["completeness"]
    for table in definition["tables"]:
        table["feed"] = "jdbc"
    path.write_text(yaml.safe_dump(definition, sort_keys=False))


def now() -> str:
    """The time of a sale, as the database keeps it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def customer_of(windows: LakeTestbed, order_id: str) -> list[tuple[object, ...]]:
    return windows.gold("SELECT customer_id FROM fact_orders WHERE order_id = ?", order_id)


@pytest.mark.nightly  # test_bronze_jdbc reads windows on every push
def test_new_rows_are_taken_by_the_next_window_and_a_repeated_run_finds_nothing_new(windows: LakeTestbed) -> None:
    id_ = new_id()
    windows.change(order(id_, at=now()))
    windows.batch("reconcile", "--table", "orders", code=BEHIND)
    windows.batch("run", "--wait")
    assert customer_of(windows, id_) == [(7,)]
    windows.batch("reconcile", "--table", "orders", code=EQUAL)
    assert "nothing new: no table was written" in windows.batch("run", "--wait").out
    windows.batch("reconcile", "--table", "customers", code=EQUAL)


@pytest.mark.nightly
def test_what_windows_cannot_see_is_different_until_it_is_repaired(windows: LakeTestbed) -> None:
    changed, deleted, backdated = (new_id() for _ in range(3))
    windows.change(order(changed, at=now()), order(deleted, at=now()))
    windows.batch("run", "--wait")
    windows.change(
        order(backdated, at="2025-02-03 04:05:06"),
        ("UPDATE orders SET customer_id = 9 WHERE id = %s", [changed]),
        ("DELETE FROM orders WHERE id = %s", [deleted]),
    )
    windows.batch("run", "--wait")
    windows.batch("run", "--wait")
    answer = windows.batch("reconcile", "--table", "orders", code=None)
    assert f"silver/orders: id={backdated}: exists only in the source" in answer.out
    assert f"silver/orders: id={deleted}: no longer exists in the source" in answer.out
    assert answer.code == DIFFERENT
    windows.batch("reconcile", "--table", "orders", "--repair", "--wait", code=EQUAL)
    assert customer_of(windows, backdated) == [(7,)]
    assert customer_of(windows, changed) == [(9,)]
    assert customer_of(windows, deleted) == []
