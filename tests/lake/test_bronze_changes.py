"""Goal: Bronze has every change of the archive once, in the source's order, and says what it could not read.

Method: archive objects written as `streams.archive` does, in folders; whole runs of the layer over them.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.bronze.table import PARTITIONS, bronze_table
from batch.context import LayerResult
from batch.delta import sizes
from batch.errors import BatchError
from config.definition import Column, LogicalType
from streams.model.position import sequence_text
from streams.topics import change_topic
from tests.support.lake.bronze_testbed import (
    DEFINITION,
    Archive,
    content,
    envelope,
    fed_by_jdbc,
    picked,
    run_context,
    wrapped,
)
from tests.support.lake.delta_rows import delta_rows

CUSTOMERS = DEFINITION.table("customers")
METHODS = DEFINITION.table("payment_method")
CUSTOMER = {
    "id": 7,
    "name": "Zoë \U0001f600 \"q\" 'x'",
    "email": "z@example.com",
    "phone": None,
    "tier": "gold",
    "created_at": "2025-01-01T00:00:00.000005Z",
    "updated_at": "2025-06-01T12:30:00Z",
}


def method(number: int, name: str = "Card") -> dict[str, Any]:
    return {"id": number, "name": name, "bank": "B"}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """The archive of payment methods."""
    return Archive(tmp_path, change_topic("project_db", "payment_method"))


def test_values_arrive_as_canonical_text_with_their_origin(spark: SparkSession, tmp_path: Path) -> None:
    Archive(tmp_path, change_topic("project_db", "customers")).put(
        envelope("c", CUSTOMER, pos=5, name="project_db.e3"), partition=2, gap=3
    )
    context = run_context(spark, tmp_path)
    result = bronze.land(CUSTOMERS, context)
    assert (result.rows_in, result.rows_written, result.rejected, result.is_unchanged) == (1, 1, {}, False)
    assert result.progress == {f"{change_topic('project_db', 'customers')}/2": 4}
    (row,) = content(context, "customers")
    assert row | {"_row_hash": ""} == CUSTOMER | {
        "id": "7",
        "created_at": "2025-01-01 00:00:00.000005",
        "updated_at": "2025-06-01 12:30:00.000000",
        "_op": "c",
        "_sequence": sequence_text((3, 2, 5, 0)),
        "_committed_at": row["_committed_at"],
        "_landed_at": row["_landed_at"],
        "_run_id": context.run_id,
        "_row_hash": "",
        "_origin": f"{change_topic('project_db', 'customers')}/2/3",
        "_rest": None,
        "year": 2026,
        "month": 3,
        "day": 1,
    }
    assert (tmp_path / "bronze" / "customers" / "year=2026" / "month=3" / "day=1").is_dir()


def test_a_run_goes_on_where_the_last_one_ended_and_one_too_many_writes_nothing(
    spark: SparkSession, tmp_path: Path, archive: Archive
) -> None:
    archive.put(envelope("c", method(1), pos=1), envelope("c", method(2), pos=2))
    archive.put(envelope("c", method(3), pos=3), partition=1)
    first = bronze.land(METHODS, run_context(spark, tmp_path))
    again = bronze.land(METHODS, run_context(spark, tmp_path))
    assert (again.is_unchanged, again.version, again.progress) == (True, first.version, first.progress)
    context = run_context(spark, tmp_path)
    table = bronze_table(METHODS, context)  # as an earlier version has made it
    old = table.read().drop("_rest")
    table.replace(old, run_id="old", progress=table.progress(), partition_by=PARTITIONS)
    archive.put(envelope("u", method(1, "new") | {"colour": "red"}, pos=4))
    third = bronze.land(METHODS, context)
    assert (third.rows_in, third.rows_written) == (1, 1)
    assert third.progress == {
        **first.progress,
        f"{change_topic('project_db', 'payment_method')}/0": 3,
        "rest": ["colour"],
    }
    rows = picked(content(context, "payment_method"), "id", "_rest")
    assert rows == [("1", None), ("1", '{"colour":"red"}'), ("2", None), ("3", None)]


@pytest.mark.parametrize("few", [50_000, 0], ids=["few rows", "many rows"])
def test_changes_that_are_delivered_again_are_landed_once(
    spark: SparkSession, tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("batch.delta.sizes.DRIVER_ROWS_MAX", few)
    changes = [envelope("c", method(number), pos=number) for number in range(1, 4)]
    archive.put(*changes, changes[1])
    context = run_context(spark, tmp_path)
    assert bronze.land(METHODS, context).rows_written == 3
    archive.put(changes[2], changes[0], envelope("u", method(1, "new"), pos=9))  # nothing is there twice
    result = bronze.land(METHODS, run_context(spark, tmp_path))
    assert (result.rows_in, result.rows_written) == (3, 1)
    assert picked(content(context, "payment_method"), "id", "name") == [
        ("1", "Card"),
        ("1", "new"),
        ("2", "Card"),
        ("3", "Card"),
    ]
    archive.put(envelope("c", method(2, "other content"), pos=2))  # both stay, so that a rebuild has the same winner
    assert bronze.land(METHODS, run_context(spark, tmp_path)).rows_written == 1


UNREADABLE = [
    (b"\xff\xfe no text", "UTF-8"),
    (b"", "envelope"),
    (b"[1]", "envelope"),
    (b'{"op": "c"', "envelope"),
    (b'{"some": "object"}', "envelope"),
    (wrapped(envelope("c", method(1), pos=1))[:-1] + b', "op": "c", "after": {"id": 1}}', "payload"),
    (envelope("m", method(1), pos=1), "op"),
    (envelope("t", None, pos=-1), "position"),
    (envelope("c", None, pos=1), "row"),
    (envelope("c", method(1), pos=-1), "position"),
    (envelope("c", method(1), pos=1, file="binlog"), "position"),
    (envelope("c", method(1), pos=1, row=-5), "position"),
    (envelope("c", {"name": "Card", "bank": "B"}, pos=1), "key"),
    (envelope("c", {"id": None, "name": "Card", "bank": "B"}, pos=1), "key"),
    (envelope("c", method(1, "x" * 100_000), pos=1), "the record has 100,"),
]


BOTH_FORMS = [
    envelope("r", method(1, "read"), pos=10),
    envelope("c", method(2), pos=10, row=1),
    wrapped(envelope("u", method(2, "new"), pos=20)),
    envelope("d", method(1), pos=30),
    None,
    b'{"schema": null, "payload": null}',
]
ANOTHER_TYPE = envelope("c", {"id": "x7", "name": 1.50, "bank": {"b": [1, True]}}, pos=31)
EXTRA = {"colour": 'r"é\\d', "size": 1.50, "none": None, "_rest": "theirs", "_position": True, "photo": "ff"}
MORE_COLUMNS = [envelope("c", method(number) | EXTRA, pos=number) for number in (40, 41, 42)]
NO_BANK = envelope("c", {"id": 50, "name": "Card"}, pos=50)
LAST = envelope("c", method(51), pos=51)


@dataclass(frozen=True)
class Landed:
    """A run over all of these values, and what it said and wrote."""

    result: LayerResult
    warnings: list[str]
    rows: list[dict[str, Any]]
    aside: list[dict[str, Any]]

    def of(self, *ids: str) -> list[dict[str, Any]]:
        """Rows with these keys."""
        return [row for row in self.rows if row["id"] in ids]


@pytest.fixture(scope="module")
def landed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Landed:
    """Values of all kinds in one archive object, those that can't be read first."""
    folder = tmp_path_factory.mktemp("landed")
    archive = Archive(folder, change_topic("project_db", "payment_method"))
    archive.put(*(value for value, _ in UNREADABLE), *BOTH_FORMS, ANOTHER_TYPE, *MORE_COLUMNS, NO_BANK, LAST)
    without = {"column.exclude.list": "project_db.other.size,project_db.payment_method.ph.*"}
    definition = msgspec.structs.replace(DEFINITION, connector=without)
    context = run_context(spark, folder, definition=definition, row_max_bytes=100_000)
    handler, log = BufferingHandler(capacity=1_000), logging.getLogger("batch.bronze")
    handler.setLevel(logging.WARNING)
    log.addHandler(handler)
    try:
        result = bronze.land(METHODS, context)
    finally:
        log.removeHandler(handler)
    messages = [record.getMessage() for record in handler.buffer]
    return Landed(result, messages, content(context, "payment_method"), delta_rows(context.lake.quarantine()))


def test_both_forms_of_the_envelope_all_operations_and_tombstones(landed: Landed) -> None:
    assert picked(landed.of("1", "2"), "id", "name", "_op", "_sequence") == [
        ("1", "read", "r", sequence_text((0, 2, 10, -1))),
        ("1", "Card", "d", sequence_text((0, 2, 30, 0))),
        ("2", "Card", "c", sequence_text((0, 2, 10, 1))),
        ("2", "new", "u", sequence_text((0, 2, 20, 0))),
    ]


def test_what_cannot_be_read_is_counted_put_aside_and_keeps_nobody_up(landed: Landed) -> None:
    assert landed.result.rejected == {"unreadable": len(UNREADABLE)}
    # Tombstones are looked at and give no row.
    assert landed.result.rows_in == len(UNREADABLE) + len(BOTH_FORMS) + 1 + len(MORE_COLUMNS) + 2
    assert landed.result.rows_written == len(landed.rows) == len(BOTH_FORMS) - 2 + 1 + len(MORE_COLUMNS) + 2
    reasons = {row["_origin"].rpartition("/")[2]: json.loads(row["row"])["reason"] for row in landed.aside}
    assert len(landed.aside) == len(UNREADABLE)
    for number, (value, word) in enumerate(UNREADABLE):
        assert word in reasons[str(number)], value
    assert {(row["table"], row["rule"], row["action"]) for row in landed.aside} == {
        ("payment_method", "unreadable", "quarantine")
    }


def test_values_of_another_type_stay_as_they_came(landed: Landed) -> None:
    ((name, bank),) = picked(landed.of("x7"), "name", "bank")
    assert (name, json.loads(bank)) == ("1.5", {"b": [1, True]})


def test_columns_beyond_the_definition_are_kept_apart_and_named(landed: Landed) -> None:
    (warning,) = landed.warnings
    assert warning.startswith("bronze/payment_method: ")
    assert warning.endswith(": _position, _rest, colour, none, size")
    kept = [json.loads(text) for (text,) in picked(landed.of("40", "41", "42"), "_rest")]
    assert kept == 3 * [{"colour": 'r"é\\d', "size": "1.5", "_rest": "theirs", "_position": "true"}]
    assert {text for (text,) in picked(landed.of("1", "2", "50", "51"), "_rest")} == {None}
    assert landed.result.drift == [warning.removeprefix("bronze/payment_method: ")]
    assert len(landed.of("40", "41", "42")) == 3
    assert "colour" not in landed.rows[0]


def test_rows_from_before_a_column_was_added_have_none(landed: Landed) -> None:
    assert picked(landed.of("50", "51"), "id", "bank") == [("50", None), ("51", "B")]


def test_a_column_that_the_source_has_dropped_is_an_error_and_nothing_is_written(
    spark: SparkSession, tmp_path: Path, archive: Archive
) -> None:
    archive.put(envelope("c", method(1), pos=1))
    context = run_context(spark, tmp_path)
    bronze.land(METHODS, context)
    archive.put(envelope("c", method(2), pos=2), envelope("c", {"id": 3, "name": "Card"}, pos=3))
    with pytest.raises(BatchError, match=r"bronze/payment_method: .*\bbank\b"):
        bronze.land(METHODS, run_context(spark, tmp_path))
    assert len(content(context, "payment_method")) == 1


@pytest.mark.parametrize("name", ["Year", "_sequence", "_names", "_deleted", "_rest", "_commit_version", "_there_id"])
def test_a_column_with_a_name_that_the_lake_needs_is_refused(spark: SparkSession, tmp_path: Path, name: str) -> None:
    column = Column(name=name, type=LogicalType.STRING)
    table = msgspec.structs.replace(METHODS, columns=(*METHODS.columns, column))
    with pytest.raises(BatchError, match=f"{METHODS.name}: .*{name.lower()}"):
        bronze.land(table, run_context(spark, tmp_path))


def test_a_gap_in_the_archive_is_an_error(spark: SparkSession, tmp_path: Path, archive: Archive) -> None:
    archive.put(envelope("c", method(1), pos=1))
    missing = archive.put(envelope("c", method(2), pos=2))
    archive.put(envelope("c", method(3), pos=3))
    missing.unlink()
    with pytest.raises(BatchError, match=r"bronze/payment_method: .*payment_method.* has a gap"):
        bronze.land(METHODS, run_context(spark, tmp_path))


def test_a_truncation_deletes_every_older_row_also_of_changes_that_come_later(
    spark: SparkSession, tmp_path: Path, archive: Archive
) -> None:
    archive.put(envelope("c", method(1), pos=1))
    bronze.land(METHODS, run_context(spark, tmp_path))
    archive.put(envelope("c", method(2), pos=2), envelope("t", None, pos=5), envelope("c", method(3), pos=6))
    bronze.land(METHODS, run_context(spark, tmp_path))
    archive.put(envelope("c", method(4), pos=4), envelope("u", method(3, "new"), pos=7), partition=1)
    context = run_context(spark, tmp_path)
    bronze.land(METHODS, context)

    def newest() -> dict[str, str]:
        return dict(picked(content(context, "payment_method"), "id", "_op"))  # the last one of each key

    assert newest() == {"1": "d", "2": "d", "3": "u", "4": "d"}
    assert bronze.land(METHODS, run_context(spark, tmp_path)).is_unchanged
    bronze.land(METHODS, run_context(spark, tmp_path, full=True))
    assert newest() == {"1": "d", "2": "d", "3": "u", "4": "d"}


@pytest.mark.parametrize("at_once", [False, True])
def test_each_truncation_deletes_what_is_older_however_many_a_run_reads(
    spark: SparkSession, tmp_path: Path, archive: Archive, at_once: bool
) -> None:
    runs = [
        [envelope("c", method(1), pos=1), envelope("c", method(2), pos=2), envelope("t", None, pos=3)],
        [envelope("c", method(1), pos=4), envelope("t", None, pos=6), envelope("t", None, pos=7)],
        [envelope("c", method(5), pos=5), envelope("c", method(6), pos=8), envelope("t", None, pos=3)],  # two come late
    ]
    context = run_context(spark, tmp_path)
    for records in runs:
        archive.put(*records)
        if not at_once:
            bronze.land(METHODS, run_context(spark, tmp_path))
    if at_once:
        bronze.land(METHODS, run_context(spark, tmp_path, full=True))
    rows = picked(content(context, "payment_method"), "id", "_op", "_sequence")
    positions = {sequence_text((0, 2, pos, 0)): pos for pos in range(1, 9)}
    assert [(key, op, positions[sequence]) for key, op, sequence in rows] == [
        *(("1", "c", 1), ("1", "d", 3), ("1", "c", 4), ("1", "d", 6)),
        *(("2", "c", 2), ("2", "d", 3)),
        *(("5", "c", 5), ("5", "d", 6)),
        ("6", "c", 8),
    ]


def test_an_archive_without_changes_makes_an_empty_table(spark: SparkSession, tmp_path: Path) -> None:
    context = run_context(spark, tmp_path)
    result = bronze.land(METHODS, context)
    assert (result.version is not None, result.rows_written, content(context, "payment_method")) == (True, 0, [])
    assert bronze.land(METHODS, run_context(spark, tmp_path)).is_unchanged


def test_a_full_run_makes_the_table_anew(spark: SparkSession, tmp_path: Path, archive: Archive) -> None:
    archive.put(envelope("c", method(1), pos=1))
    archive.put(envelope("c", method(2), pos=2))
    context = run_context(spark, tmp_path)
    for _ in range(2):
        bronze.land(METHODS, run_context(spark, tmp_path, full=True))
    assert picked(content(context, "payment_method"), "id") == [("1",), ("2",)]


def test_a_table_that_another_feed_filled_is_refused(spark: SparkSession, tmp_path: Path, archive: Archive) -> None:
    archive.put(envelope("c", method(1), pos=1))
    bronze.land(METHODS, run_context(spark, tmp_path))
    definition, table = fed_by_jdbc("payment_method")
    with pytest.raises(BatchError, match=r"'changes'.*'jdbc'.*rebuild --table payment_method"):
        bronze.land(table, run_context(spark, tmp_path, definition=definition))


@pytest.mark.parametrize(("share", "files"), [(1.0, 1), (0.4, 3), (0.01, 10)])
def test_a_run_adds_files_by_the_volume_of_the_archive(
    share: float, files: int, spark: SparkSession, tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        archive.put(envelope("c", method(number), pos=number), partition=number % 5)
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    monkeypatch.setattr(sizes, "FILE_BYTES", int(stored * share) + 1)
    monkeypatch.setattr(sizes, "DRIVER_ROWS_MAX", 0)
    result = bronze.land(METHODS, run_context(spark, tmp_path))
    assert (result.rows_written, result.files) == (200, files)
    assert len(list((tmp_path / "bronze" / "payment_method").rglob("*.parquet"))) == files


def test_few_rows_are_one_file_from_however_many_objects(spark: SparkSession, tmp_path: Path, archive: Archive) -> None:
    for number in range(20):
        archive.put(envelope("c", method(number), pos=number), partition=number % 5)
    assert bronze.land(METHODS, run_context(spark, tmp_path)).files == 1
