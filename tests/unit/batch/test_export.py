"""Goal: an export has each selected row once, goes on where it was interrupted, and runs no text of its condition.

Method: a Delta table of several files in a folder, written without Spark; conditions by hand.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from batch.__main__ import main
from batch.console.conditions import Comparison, filter_of, parsed_condition
from batch.delta.published import PublishedTable
from batch.errors import BatchError
from batch.pipeline.export import STATE, SUCCESS, Request, State, begun, export
from batch.pipeline.manifest import Manifest, Manifests, new_run_id
from batch.storage.objects import LocalFolder
from config.settings import ObjectStoreSettings

STORE = ObjectStoreSettings.read(
    {"MINIO_ENDPOINT": "http://127.0.0.1:1", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "b"}
)


def rows(first: int, count: int) -> pa.Table:
    ids = range(first, first + count)
    return pa.table(
        {
            "id": pa.array(ids, pa.int32()),
            "name": [f"O'Brien {number}" if number % 2 else None for number in ids],
            "price": pa.array([Decimal(number) / 4 for number in ids], pa.decimal128(10, 2)),
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> PublishedTable:
    """Thirty rows in three files, and a fourth file in a later version."""
    path = tmp_path / "table"
    for first in (1, 11, 21, 31):
        write_deltalake(path, rows(first, 10), mode="append")
    return PublishedTable(f"file://{path}", 2, STORE)


def exported(table: PublishedTable, folder: Path, where: str = "", kind: str = "parquet", **changes: Any) -> State:
    condition = filter_of(parsed_condition(where), table.schema) if where else None
    names = changes.pop("columns", table.schema.names)
    request = Request(table="silver/t", mark=table.mark, columns=names, where=where, format=kind)
    state = begun(request, LocalFolder(folder))
    export(table.parts(), condition, state, LocalFolder(folder), lambda line: None)
    return state


def ids(folder: Path) -> list[int]:
    return sorted(row["id"] for path in folder.glob("*.parquet") for row in pq.read_table(path).to_pylist())


def test_an_export_has_the_rows_of_its_version(table: PublishedTable, tmp_path: Path) -> None:
    state = exported(table, tmp_path / "out")
    assert ids(tmp_path / "out") == [*range(1, 31)]
    assert (state.rows, len(state.done)) == (30, 3)
    assert json.loads((tmp_path / "out" / SUCCESS).read_bytes())["request"]["table"] == "silver/t"


def test_the_same_export_has_the_same_checksum_and_another_one_has_not(table: PublishedTable, tmp_path: Path) -> None:
    first, again = exported(table, tmp_path / "a"), exported(table, tmp_path / "b")
    other = exported(table, tmp_path / "c", "id < 30")
    assert first.checksum == again.checksum != other.checksum


def test_text_formats_have_the_columns_that_are_asked_for(table: PublishedTable, tmp_path: Path) -> None:
    exported(table, tmp_path / "csv", "id = 1", "csv", columns=["price", "name"])
    exported(table, tmp_path / "json", "id = 1", "json", columns=["price", "name"])
    texts = {kind: "".join(path.read_text() for path in (tmp_path / kind).glob("part-*")) for kind in ("csv", "json")}
    assert [row for row in csv.reader(texts["csv"].splitlines()) if row[0] != "price"] == [["0.25", "O'Brien 1"]]
    assert json.loads(texts["json"]) == {"price": "0.25", "name": "O'Brien 1"}


def test_a_published_table_is_read_with_the_authority_of_the_storage(
    table: PublishedTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "")
    (tmp_path / "ca.pem").write_text("an authority")
    told = {"ca_file": tmp_path / "ca.pem", "endpoint": "https://x", "access_key": "a", "secret_key": "b"}
    store: Any = SimpleNamespace(**told)
    assert PublishedTable(f"file://{tmp_path}/table", 2, store).mark == table.mark
    assert "an authority" in Path(os.environ["SSL_CERT_FILE"]).read_text()


class Killed(LocalFolder):
    """A folder that fails at its n-th write."""

    def __init__(self, folder: Path, writes: int) -> None:
        super().__init__(folder)
        self._left = iter(range(writes))

    def write(self, name: str, content: bytes) -> None:
        if next(self._left, None) is None:
            raise KeyboardInterrupt
        super().write(name, content)


@pytest.mark.parametrize("writes", range(8))
def test_an_export_that_was_killed_anywhere_goes_on(table: PublishedTable, tmp_path: Path, writes: int) -> None:
    request = Request(table="silver/t", mark=table.mark, columns=table.schema.names, where="", format="parquet")
    out = tmp_path / "out"
    folder = Killed(out, writes)
    with pytest.raises(KeyboardInterrupt):
        export(table.parts(), None, begun(request, folder), folder, lambda line: None)
    assert not (out / SUCCESS).exists()
    state = exported(table, out)
    assert ids(out) == [*range(1, 31)]
    assert state.checksum == exported(table, tmp_path / "whole").checksum


def test_a_folder_with_something_else_in_it_is_refused(table: PublishedTable, tmp_path: Path) -> None:
    exported(table, tmp_path / "out")
    with pytest.raises(BatchError, match="another export"):
        exported(table, tmp_path / "out", "id = 1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(BatchError, match=r"mine\.txt"):
        exported(table, tmp_path / "full")
    (tmp_path / "out" / STATE).write_text("nonsense")
    with pytest.raises(BatchError, match="cannot be read"):
        exported(table, tmp_path / "out")


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("id = 7", [7]),
        ("id >= 28 and price < 7.25", [28]),
        ("name = 'O''Brien 3'", [3]),
        ("name IS NULL AND id <= 4", [2, 4]),
        ("name is not null and id < 4", [1, 3]),
        ("id != 1 AND id <> 2 AND id < 5", [3, 4]),
    ],
)
def test_a_condition_selects_rows(table: PublishedTable, tmp_path: Path, where: str, found: list[int]) -> None:
    exported(table, tmp_path / "out", where)
    assert ids(tmp_path / "out") == found


@pytest.fixture
def by_day(tmp_path: Path) -> PublishedTable:
    """A table with a partition per day, a file with times as Spark wrote them (INT96), and a column added later."""
    path, days = tmp_path / "by_day", (datetime(2025, 1, 31, 12, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
    seen = pa.array(days, pa.timestamp("us", "UTC"))
    write_deltalake(path, pa.table({"id": [1, 2], "day": [1, 2], "seen": seen}), partition_by=["day"])
    log = path / "_delta_log" / f"{0:020d}.json"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    for added in (entry["add"] for entry in entries if "add" in entry):
        rows = pq.ParquetFile(path / added["path"]).read()
        pq.write_table(rows, path / added["path"], use_deprecated_int96_timestamps=True, store_schema=False)
        added["size"] = (path / added["path"]).stat().st_size
    log.write_text("\n".join(map(json.dumps, entries)))
    later = pa.table({"id": [3], "day": [2], "seen": seen[:1], "note": ["new"]})
    write_deltalake(path, later, mode="append", schema_mode="merge")
    return PublishedTable(f"file://{path}", 1, STORE)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", [1, 2, 3]),
        ("day = 2", [2, 3]),
        ("note IS NULL", [1, 2]),
        ("seen >= '2025-02-01'", [2]),
        ("seen < '2025-01-31 12:00:01' AND seen >= '2025-01-31T13:00:00+01:00'", [1, 3]),
    ],
)
def test_every_file_has_the_columns_and_types_of_the_table(
    by_day: PublishedTable, tmp_path: Path, where: str, found: list[int]
) -> None:
    exported(by_day, tmp_path / "out", where)
    files = [pq.read_table(path) for path in (tmp_path / "out").glob("*.parquet")]
    assert {file.schema for file in files} == {by_day.schema}
    rows = {row["id"]: row for file in files for row in file.to_pylist()}
    assert sorted(rows) == found
    assert all(row["seen"].year == (9999 if id_ == 2 else 2025) for id_, row in rows.items())


def test_a_table_that_only_spark_reads_is_refused_with_what_to_do(table: PublishedTable, tmp_path: Path) -> None:
    path = tmp_path / "table"
    features = ["deletionVectors"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    (path / "_delta_log" / f"{4:020d}.json").write_text(json.dumps({"protocol": protocol}))
    with pytest.raises(BatchError, match=r"deletionVectors.*millrace lake sql"):
        PublishedTable(f"file://{path}", 4, STORE).parts()


def test_a_condition_is_read_as_comparisons() -> None:
    assert parsed_condition("a = 'x' AND b IS NULL") == [
        Comparison(column="a", operator="=", value="x"),
        Comparison(column="b"),
    ]


def hostile() -> Iterator[str]:
    yield from (
        "id = 1; DROP TABLE t",
        "id = (SELECT 1)",
        "1 = 1",
        "id = 1 OR 1 = 1",
        "name = 'x' --",
        "",
        "id =",
        "AND",
    )


@pytest.mark.parametrize("where", [*hostile()])
def test_anything_else_is_refused(where: str) -> None:
    with pytest.raises(BatchError, match="--where"):
        parsed_condition(where)


@pytest.mark.parametrize("where", ["other = 1", "id = 'one'", "price = 'much'"])
def test_unknown_columns_and_values_of_another_type_are_named(table: PublishedTable, where: str) -> None:
    with pytest.raises(BatchError, match="--where: "):
        filter_of(parsed_condition(where), table.schema)


def test_the_command_copies_the_published_rows_without_those_that_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        **{f"{layer.upper()}_ROOT": f"file://{tmp_path}/{layer}" for layer in ("bronze", "silver", "gold")},
        "MINIO_ENDPOINT": "http://127.0.0.1:1",
        "MINIO_ACCESS_KEY": "a",
        "MINIO_SECRET_KEY": "b",
        "LOG_DIR": str(tmp_path / "logs"),
    }.items():
        monkeypatch.setenv(name, value)
    ways = pa.table(
        {"id": [1, 2, 3], "name": ["a", "b", "c"], "bank": ["x", "x", "y"], "_deleted": [False, True, False]}
    )
    (tmp_path / "silver").mkdir()
    write_deltalake(tmp_path / "silver" / "payment_method", ways)
    now = datetime.now(UTC)
    manifest = Manifest(
        run_id=new_run_id(now),
        dataset="project_db",
        started_at=now,
        ended_at=now,
        tables=[],
        versions={"silver/payment_method": 0},
    )
    Manifests(LocalFolder(tmp_path / "gold" / "audit" / "runs")).write(manifest)
    asked = ["export", "payment_method", "--columns", "name, id", "--where", "id > 0", "--to", str(tmp_path / "out")]
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    (path,) = (tmp_path / "out").glob("*.parquet")
    assert pq.read_table(path).to_pylist() == [{"name": "a", "id": 1}, {"name": "c", "id": 3}]
    assert main(["export", "payment_method", "--columns", "other", "--to", str(tmp_path / "new")]) == 1
    assert "'other'" in capsys.readouterr().err
