"""Goal: the manifest that was written last is the newest, and versions become visible only with their run.

Method: manifests in a temporary folder; no Spark.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from batch.errors import BatchError
from batch.pipeline.manifest import Manifest, Manifests, TableRun, new_run_id, versions_after
from batch.storage.objects import LocalFolder

NOON = datetime(2025, 5, 6, 12, tzinfo=UTC)


def manifest(run_id: str, versions: dict[str, int]) -> Manifest:
    return Manifest(run_id=run_id, dataset="d", started_at=NOON, ended_at=NOON, tables=[], versions=versions)


def test_the_newest_manifest_is_found_however_old_it_is(tmp_path: Path) -> None:
    manifests = Manifests(LocalFolder(tmp_path))
    assert manifests.newest(NOON) is None
    for days in (40, 30):
        run_id = new_run_id(NOON - timedelta(days=days))
        manifests.write(manifest(run_id, {"a/b": days}))
    newest = manifests.newest(NOON)
    assert newest is not None
    assert newest.versions == {"a/b": 30}
    assert [each.versions["a/b"] for each in manifests.last(5)] == [30, 40]


def test_the_manifest_written_last_is_the_newest_whatever_the_clocks_say(tmp_path: Path) -> None:
    manifests = Manifests(LocalFolder(tmp_path))
    for version, minutes in ((7, 0), (8, -30), (9, -31)):
        run_id = new_run_id(NOON + timedelta(minutes=minutes))
        versions = {"a/b": version}
        manifests.write(manifest(run_id, versions))
        newest = manifests.newest(NOON)
        assert newest is not None
        assert (newest.run_id, newest.versions) == (run_id, versions)
    assert [each.versions["a/b"] for each in manifests.last()] == [9, 8, 7]


def test_old_manifests_are_deleted_but_never_the_newest(tmp_path: Path) -> None:
    manifests = Manifests(LocalFolder(tmp_path))
    for days in (40, 30, 20):
        run_id = new_run_id(NOON - timedelta(days=days))
        manifests.write(manifest(run_id, {"a/b": days}))
    assert manifests.forget(NOON - timedelta(days=25)) == 2
    assert manifests.forget(NOON) == 0
    assert [each.versions["a/b"] for each in manifests.last()] == [20]


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("20250506T120000.000000Z-abc.json", b'{"run_id"')
    with pytest.raises(BatchError, match=r"20250506T120000.000000Z-abc.json is damaged"):
        Manifests(folder).newest(NOON)


def test_run_ids_sort_by_time() -> None:
    ids = [new_run_id(NOON + timedelta(microseconds=us)) for us in (0, 1, 10, 999_999, 1_000_000)]
    assert ids == sorted(ids)
    assert len({new_run_id(NOON) for _ in range(20)}) == 20


def test_a_failed_table_keeps_its_version() -> None:
    failed = TableRun(layer="silver", table="orders", version=9, error="broken")
    assert versions_after({"silver/orders": 8}, [failed]) == {"silver/orders": 8}
