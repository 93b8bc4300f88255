"""Goal: an erased record loses its value, and everything else in its object stays the same.

Method: objects in the format of `streams.archive`, and the text of the report; no Spark, no server.
"""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from batch.erasure import archive as real
from batch.erasure.archive import OwnRecords, without_values
from batch.erasure.elsewhere import warehouse
from batch.erasure.person import named_person, rows_elsewhere
from batch.erasure.raw_files import CopiedArchive
from batch.erasure.report import Entry, Report, combined, report_text, write_report
from batch.erasure.work import Erasure
from batch.errors import BatchError
from batch.storage.objects import LocalFolder
from config.dataset import load_definition
from tests.support.lake.bronze_testbed import Archive, run_context

SHOP = load_definition("project_db")


def records(content: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    return found


def test_only_the_values_of_these_records_are_removed(tmp_path: Path) -> None:
    path = Archive(tmp_path, "topic").put(b'{"a": 1}', b"\xff\x00 no text", None, b'{"b":  2}', gap=3)
    content = path.read_bytes()
    before, after = records(content), records(without_values(content, {3, 6}))
    assert [row["value"] for row in before] == [b'{"a": 1}', b"\xff\x00 no text", None, b'{"b":  2}']
    assert after == [row | {"value": None} if row["offset"] in (3, 6) else row for row in before]
    assert pq.read_schema(io.BytesIO(without_values(content, {3}))).equals(pq.read_schema(path), check_metadata=True)
    assert without_values(without_values(content, {3}), {3}) == without_values(content, {3})


def test_of_a_row_that_is_anothers_now_only_what_it_was_before_is_removed(tmp_path: Path) -> None:
    plain = b'{"op":"u","before":{"id":1,"customer_id":7},"after":{"id":1,"customer_id":8}}'
    wrapped = b'{"schema":null,"payload":' + plain + b"}"
    content = Archive(tmp_path, "topic").put(plain, wrapped, plain).read_bytes()
    found = [row["value"] for row in records(without_values(content, {2}, {0, 1}))]
    without = plain.replace(b'{"id":1,"customer_id":7}', b"null")
    assert found == [without, b'{"schema":null,"payload":' + without + b"}", None]


def test_an_object_keeps_its_name_when_it_is_replaced(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("0.parquet", b"old")
    folder.replace("0.parquet", b"new")
    assert (folder.names(), folder.read("0.parquet")) == (["0.parquet"], b"new")


def test_a_person_is_a_row_of_the_table_that_the_definition_names() -> None:
    person = named_person(SHOP, "007")
    assert (person.table.name, person.key, person.id, person.personal) == (
        "customers",
        "id",
        "7",
        ("name", "email", "phone"),
    )
    assert person.condition("int") == "`id` = CAST('7' AS int)"
    assert person.mark == named_person(SHOP, "7").mark != named_person(SHOP, "8").mark


def test_rows_of_a_person_are_in_every_table_with_a_column_that_refers_to_one() -> None:
    orders = SHOP.table("orders")
    columns = tuple(
        msgspec.structs.replace(column, subject="customer" if column.name == "customer_id" else None)
        for column in orders.columns
    )
    declared = msgspec.structs.replace(
        SHOP, tables=(msgspec.structs.replace(orders, columns=columns), *SHOP.tables[1:])
    )
    own = named_person(SHOP, "7")
    assert rows_elsewhere(own, SHOP) == []
    [found] = rows_elsewhere(own, declared)
    assert (found.table.name, found.key, found.id, found.is_own) == ("orders", "customer_id", "7", False)
    assert found.mark == own.mark


def test_the_report_of_several_tables_is_verified_if_each_is() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    reports = [
        Report(
            run_id="r",
            dataset="d",
            person="p",
            started_at=now.replace(day=day),
            ended_at=now.replace(day=day),
            is_verified=day != bad,
            places=[Entry(place=f"place {day}", found=day, left=0)],
        )
        for bad in (3, 1)
        for day in (1, 2)
    ]
    whole, part = combined(reports[:2]), combined(reports[2:])
    assert (whole.is_verified, part.is_verified) == (True, False)
    assert (whole.started_at.day, whole.ended_at.day) == (1, 2)
    assert [entry.place for entry in whole.places] == ["place 1", "place 2"]


def test_a_dataset_without_persons_is_an_error_that_names_the_missing_setting() -> None:
    nobody = msgspec.structs.replace(SHOP, tables=(SHOP.table("orders"),))
    with pytest.raises(BatchError, match=r"project_db .*`subject: customer`"):
        named_person(nobody, "7")


def test_a_report_names_places_and_nobody(tmp_path: Path) -> None:
    places = [
        Entry(place="archive", found=1_200, left=0),
        Entry(place="topic t", found=3, left=3, is_ours=False, note="stays"),
    ]
    assert report_text(places).splitlines() == [
        "PLACE    FOUND  ERASED  LEFT",
        "archive  1,200   1,200     0",
        "topic t      3       0     3  stays",
    ]
    assert report_text(places, is_dry_run=True).splitlines()[1] == "archive  1,200"
    now, mark = datetime(2026, 1, 1, tzinfo=UTC), named_person(SHOP, "424242").mark
    report = Report(run_id="r", dataset="d", person=mark, started_at=now, ended_at=now, is_verified=True, places=places)
    write_report(report, LocalFolder(tmp_path))
    text = (tmp_path / "r.json").read_text()
    assert "424242" not in text
    assert msgspec.json.decode(text, type=Report) == report


@pytest.mark.parametrize(("versioned", "is_verified"), [((), True), (("s3a://bronze",), False)])
def test_an_erasure_in_a_versioned_bucket_is_not_called_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, versioned: tuple[str, ...], is_verified: bool
) -> None:
    nothing: Any = None
    reports: list[Report] = []
    erasure = Erasure(
        person=named_person(SHOP, "7"),
        context=run_context(nothing, tmp_path),
        archive=nothing,
        lookup=None,
        outside=lambda values: [],
        keep=reports.append,
        versioned=versioned,
    )
    monkeypatch.setattr(erasure, "_find", lambda: OwnRecords(offsets={}))
    monkeypatch.setattr(erasure, "_ours", list)
    for name in ("referring", "warehouse"):
        monkeypatch.setattr(f"batch.erasure.work.{name}", lambda *_: [])
    erasure._verified()
    [report] = reports
    assert report.is_verified is is_verified
    assert [entry.place for entry in report.places] == [f"versions of {each}" for each in versioned]


def test_the_copies_of_records_are_erased_first_so_that_an_interrupted_erasure_finds_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []

    class Files:
        def add(self, found: OwnRecords) -> None:
            steps.append(f"add {found.count}")

        def count(self) -> int:
            return 3

        def erase(self) -> None:
            steps.append("erase the copies")

    nothing: Any = None
    files: Any = Files()
    monkeypatch.setattr(real.Archive, "find", lambda *_: OwnRecords(offsets={"a": {1}}))
    monkeypatch.setattr(real.Archive, "erase", lambda *_: steps.append("erase the archive"))
    archive = CopiedArchive(nothing, "", nothing, files)
    found = archive.find(named_person(SHOP, "7"))
    archive.erase(found)
    assert steps == ["add 1", "erase the copies", "erase the archive"]
    assert [(entry.place, entry.found) for entry in archive.entries(found)] == [("archive", 1), ("raw records", 3)]


def test_the_report_names_the_warehouse_which_is_not_searched() -> None:
    person = named_person(SHOP, "7")
    without = dataclasses.replace(person, table=msgspec.structs.replace(person.table, warehouse=None))
    for each, places in ((person, ["warehouse project_db.dim_customers"]), (without, [])):
        found = warehouse(each)
        assert [entry.place for entry in found] == places
        assert all(not entry.is_ours and "millrace warehouse erase" in entry.note for entry in found)
