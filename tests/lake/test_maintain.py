"""Goal: maintenance leaves every row and every progress as it was, in fewer files; only old deletions and files go.

Method: a lake in a folder that several small runs have made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.bronze.table import bronze_table
from batch.delta.sizes import FILE_BYTES
from batch.delta.table import LakeTable
from batch.erasure import streams
from batch.erasure.person import Person
from batch.erasure.streams import Topics
from batch.errors import BatchError
from batch.pipeline.maintenance import FILE_BYTES_MAX, file_bytes, maintained, with_less_archive
from batch.reconcile.explained import Explained
from config.dataset import load_definition
from config.definition import Table
from streams.topics import change_topic
from tests.lake.lake import STARTED, LocalLake
from tests.lake.shop_changes import order
from tests.support.lake.bronze_testbed import Archive, envelope, run_context

SHOP = load_definition("project_db")
FACTS = "fact_orders"
WEEK, MONTH = 7 * 86_400.0, 30 * 86_400.0


@pytest.fixture(scope="module")
def filled(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> LocalLake:
    """Orders of three runs, one of them deleted; there is no Gold yet."""
    lake = LocalLake(spark, tmp_path_factory.mktemp("filled"), SHOP)
    for changes in ([order("a", 1)], [order("b", 2)], [order("b", 3, "d"), order("c", 4)]):
        lake.land(changes)
        lake.refine("orders")
    return lake


@pytest.fixture
def lake(filled: LocalLake, tmp_path: Path) -> LocalLake:
    """A copy of it."""
    return filled.copied(tmp_path / "lake")


def orders_of(lake: LocalLake) -> LakeTable:
    return lake.context().table("silver", "orders")


def test_rows_and_progress_stay_and_files_become_fewer(lake: LocalLake) -> None:
    table = orders_of(lake)
    rows, progress, files = lake.live("orders"), table.progress(), table.data_files().count
    result = maintained(table, lake.context(), keep_s=WEEK, tombstones_s=MONTH)
    assert files > 1
    assert f"files {files} → 1" in result.note
    assert result.rows_written == 0
    assert (lake.live("orders"), orders_of(lake).progress()) == (rows, progress)
    assert maintained(orders_of(lake), lake.context(), keep_s=WEEK, tombstones_s=MONTH).is_unchanged


def test_the_next_run_goes_on_from_there(lake: LocalLake) -> None:
    lake.build(FACTS)
    maintained(orders_of(lake), lake.context(), keep_s=WEEK, tombstones_s=MONTH)
    assert lake.refine("orders")["orders"].is_unchanged
    lake.land([order("d", 5)])
    lake.refine("orders")
    assert lake.build(FACTS)[FACTS].rows_written == 1
    assert lake.gold(FACTS, "order_id") == {("a",), ("c",), ("d",)}


def test_only_deletions_of_long_ago_go(lake: LocalLake) -> None:
    def keys() -> set[str]:
        return {id_ for (id_,) in lake.stored("orders", "id")}

    context = lake.context()
    assert context.started_at == STARTED, "minutes before the rows were committed"
    assert maintained(orders_of(lake), context, keep_s=WEEK, tombstones_s=-60.0).rows_written == 0
    assert keys() == {"a", "b", "c"}
    assert maintained(orders_of(lake), context, keep_s=WEEK, tombstones_s=-600.0).rows_written == 1
    assert keys() == {"a", "c"}


def test_files_of_versions_that_are_kept_stay_and_older_ones_go(lake: LocalLake) -> None:
    folder = lake.folder / "silver" / "orders"
    table = orders_of(lake)
    version = table.version()
    maintained(table, lake.context(), keep_s=WEEK, tombstones_s=MONTH)
    assert table.read(version).count() == 3
    maintained(orders_of(lake), lake.context(), keep_s=0.0, tombstones_s=MONTH)
    assert len(list(folder.glob("*.parquet"))) == 1
    assert lake.live("orders", "id") == {("a",), ("c",)}


def test_what_no_run_has_taken_up_is_made_anew_when_its_feed_is_gone(lake: LocalLake) -> None:
    lake.build(FACTS)
    lake.land([order("a", 7, num_products=9)])
    lake.refine("orders")
    maintained(orders_of(lake), lake.context(), keep_s=0.0, tombstones_s=MONTH)
    lake.build(FACTS)
    assert lake.gold(FACTS, "order_id", "num_products") == {("a", 9), ("c", 1)}


def test_what_bronze_has_of_the_archive_may_go_once_it_is_old(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = change_topic("project_db", "payment_method")
    archive, table = Archive(tmp_path, topic), SHOP.table("payment_method")

    def put(pos: int) -> Path:
        return archive.put(envelope("c", {"id": pos, "name": "Card", "bank": "B"}, pos=pos))

    paths = [put(pos) for pos in (1, 2, 3)]
    bronze.land(table, run_context(spark, tmp_path))
    paths.append(put(4))  # not landed
    for path in paths[1:]:
        os.utime(path, times=(0, 0))
    context = run_context(spark, tmp_path)

    def less() -> str:
        return with_less_archive(table, bronze_table(table, context), context, keep_s=MONTH)

    assert less().startswith("removed 2 archive objects")
    assert [path.exists() for path in paths] == [True, False, False, True], "not old, gone, gone, not landed"
    assert bronze.land(table, run_context(spark, tmp_path)).rows_written == 1
    assert less().startswith("removed 0 archive objects"), "the newest one stays"
    with pytest.raises(BatchError, match=r"has a gap.*`run --full --layer silver`"):
        bronze.land(table, run_context(spark, tmp_path, full=True, is_rebuild=True))

    os.utime(paths[0], times=(0, 0))
    assert less().startswith("removed 1 archive objects")
    asked: list[Mapping[int, int]] = []

    def nothing_pending(_bootstrap: str, _topic: str, _table: Table, positions: Mapping[int, int]) -> Explained:
        asked.append(positions)
        return Explained()

    monkeypatch.setattr(Topics, "exists", lambda _self, _topic: True)
    monkeypatch.setattr(streams, "pending_changes", nothing_pending)
    person = Person(dataset="project_db", table=table, id="7", persons="customers", refers_by="id")
    Topics("127.0.0.1:1").check_archived(person, context)
    assert asked == [{0: 4}], "an erasure goes on where Bronze ends"


@pytest.mark.parametrize(("size", "expected"), [(0, FILE_BYTES), (2**29, 2**26), (2**40, FILE_BYTES_MAX)])
def test_files_are_sized_by_volume(size: int, expected: int) -> None:
    assert file_bytes(size) == expected
