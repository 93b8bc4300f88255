"""Goal: the archive's records are plain Parquet, each once, whatever was killed, and without an erased person.

Method: an archive in a folder, written like that of `streams.archive`, and a storage that fails at a chosen write.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.erasure.archive import OwnRecords
from batch.erasure.raw_files import RawFiles
from batch.errors import BatchError
from batch.pipeline.raw_records import SCHEMA, RawRecords
from batch.storage.objects import LocalFolder
from batch.storage.paths import Lake
from config.settings import ObjectStoreSettings
from streams.model.archive_chain import object_name
from tables.archive.rows import SCHEMA as ARCHIVED

STORE = ObjectStoreSettings.read(
    {"MINIO_ENDPOINT": "http://127.0.0.1:1", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "b"}
)
TOPICS = ("dbserver1.public.klienci", "dbserver1.public.odd-name")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class House:
    """An archive of two topics in a folder, and the files that follow it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        lake = Lake(bronze=f"{folder}/bronze", silver="", gold="")
        place = f"{folder}/raw"
        self.raw = RawRecords(topics=TOPICS, lake=lake, place=place, store=STORE, say=self.lines.append)

    def archived(self, records: Mapping[int, bytes | None], *, start: int, topic: str = TOPICS[0]) -> Path:
        """Write an object of partition 3."""
        rows: list[dict[str, Any]] = [
            {
                "topic": topic,
                "partition": 3,
                "offset": at,
                "timestamp": NOON,
                "key": b"7",
                "value": value,
                "headers": [],
            }
            for at, value in records.items()
        ]
        path = self.folder / "bronze" / object_name(topic, 3, start)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=ARCHIVED), path)
        return path

    def rows(self) -> list[dict[str, Any]]:
        """All rows of the folder, as any program reads them."""
        return sorted(pq.read_table(self.folder / "raw").to_pylist(), key=lambda row: (row["topic"], row["offset"]))

    def values(self) -> dict[int, str | None]:
        return {row["offset"]: row["value"] for row in self.rows()}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_each_record_is_there_once_as_text(house: House) -> None:
    house.archived({0: b'{"a":"\xc5\x81"}', 1: b"\xff{", 2: None}, start=0)
    house.archived({5: b"later"}, start=3)  # the offsets between belong to no record
    house.archived({0: b"other"}, start=0, topic=TOPICS[1])
    house.raw.follow()
    house.raw.follow()
    first = {"topic": TOPICS[0], "partition": 3, "offset": 0, "timestamp": NOON, "key": "7", "value": '{"a":"Ł"}'}
    assert house.rows()[0] == first
    assert [(row["topic"], row["offset"], row["value"]) for row in house.rows()[1:]] == [
        (TOPICS[0], 1, "\\xff{"),
        (TOPICS[0], 2, None),
        (TOPICS[0], 5, "later"),
        (TOPICS[1], 0, "other"),
    ]
    assert house.lines == [f"  {house.folder}/raw: 5 records in 3 new files"]
    house.archived({6: b"new"}, start=6)
    house.raw.follow()
    assert house.values()[6] == "new"
    assert house.lines[1:] == [f"  {house.folder}/raw: 1 records in 1 new files"]


def test_a_service_lists_its_files_once_and_of_a_long_archive_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.archived({0: b"old"}, start=0)
    house.archived({9_000_000: b"new"}, start=1)
    house.raw.follow()
    listed: list[tuple[str, int]] = []
    names = LocalFolder.names

    def counted(folder: LocalFolder, *, after: str = "") -> list[str]:
        found = names(folder, after=after)
        listed.append((folder._folder.name, len(found)))
        return found

    monkeypatch.setattr(LocalFolder, "names", counted)
    house.archived({9_000_001: b"newer"}, start=9_000_001)
    house.raw.follow()
    assert listed == [(TOPICS[0], 1), ("00003", 1), (TOPICS[1], 0)]
    assert house.values() == {0: "old", 9_000_000: "new", 9_000_001: "newer"}


def test_what_another_process_has_written_is_not_missed_in_the_archive(house: House) -> None:
    house.archived({0: b"0"}, start=0)
    house.raw.follow()
    path = house.archived({1: b"1"}, start=1)
    House(house.folder).raw.follow()
    path.unlink()
    house.archived({2: b"2"}, start=2)
    with pytest.raises(BatchError, match="has a gap"):
        house.raw.follow()
    house.raw.follow()
    assert house.values() == {0: "0", 1: "1", 2: "2"}


def test_files_that_are_added_to_an_old_archive_begin_where_it_does(house: House) -> None:
    house.archived({5: b"5"}, start=5)  # `maintain --archive` has deleted what was before
    house.archived({6: b"6"}, start=6)
    house.raw.follow()
    assert house.values() == {5: "5", 6: "6"}
    house.archived({7: b"7"}, start=7)
    House(house.folder).raw.follow()
    assert house.values() == {5: "5", 6: "6", 7: "7"}


def test_what_was_written_before_a_kill_is_not_written_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in range(5):
        house.archived({start: b"%d" % start}, start=start)
    written: list[str] = []
    write = LocalFolder.write

    def until_killed(folder: LocalFolder, name: str, content: bytes) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        write(folder, name, content)
        written.append(name)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "write", until_killed)
        with pytest.raises(KeyboardInterrupt):
            house.raw.follow()
    assert house.values() == {0: "0", 1: "1"}
    times = {path: path.stat().st_mtime_ns for path in (house.folder / "raw").iterdir()}
    house.raw.follow()
    assert house.values() == {start: str(start) for start in range(5)}
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len(house.rows()) == 5


def test_records_that_were_archived_again_are_not_there_twice(house: House) -> None:
    house.archived({0: b"0", 1: b"1"}, start=0)
    lost = house.archived({2: b"2"}, start=2)
    house.raw.follow()
    lost.unlink()
    house.archived({2: b"2", 3: b"3", 4: b"4"}, start=2)
    house.raw.follow()
    assert [row["offset"] for row in house.rows()] == [0, 1, 2, 3, 4]


def test_a_gap_in_the_archive_is_named_and_nothing_behind_it_is_copied(house: House) -> None:
    house.archived({0: b"0"}, start=0)
    lost = house.archived({1: b"1"}, start=1)
    house.archived({2: b"2"}, start=2)
    lost.unlink()
    with pytest.raises(BatchError, match=r"raw: the archive of dbserver1.public.klienci, partition 3, has a gap: .* 1"):
        house.raw.follow()
    assert house.values() == {0: "0"}


def test_the_folder_may_have_other_files_and_no_archive_makes_no_folder(house: House) -> None:
    house.raw.follow()
    assert not (house.folder / "raw").exists()
    house.archived({0: b"0"}, start=0)
    (house.folder / "raw").mkdir()
    (house.folder / "raw" / "_NOTES").write_text("not ours")
    house.raw.follow()
    assert house.values() == {0: "0"}


def test_a_persons_values_go_and_all_others_stay(house: House) -> None:
    def change(before: int | None, after: int) -> bytes:
        return msgspec.json.encode({"before": before and {"id": before}, "after": {"id": after}, "op": "u"})

    house.archived({0: change(None, 7), 1: change(None, 8)}, start=0)
    path = house.archived({2: change(7, 8), 3: None}, start=2)
    house.raw.follow()
    copies = {name: (house.folder / "raw" / name).read_bytes() for name in LocalFolder(house.folder / "raw").names()}
    files = RawFiles(raw=house.raw, topic=TOPICS[0])
    object_ = f"file://{path.parent}/{0:020d}.parquet"
    files.add(OwnRecords(offsets={object_: {0}}, former={f"file://{path}": {2, 3}}))
    assert files.count() == 2
    files.erase()
    assert house.values() == {0: None, 1: change(None, 8).decode(), 2: change(None, 8).decode(), 3: None}
    files.add(OwnRecords(offsets={}))  # the archive has none of them any more
    assert files.count() == 0
    after = {name: (house.folder / "raw" / name).read_bytes() for name in copies}
    files.erase()
    assert {name: (house.folder / "raw" / name).read_bytes() for name in copies} == after, "nothing is left to write"
    assert pq.read_schema(next((house.folder / "raw").iterdir())).equals(SCHEMA)
    house.raw.follow()
    assert files.count() == 0
    shutil.rmtree(house.folder / "raw")
    assert files.count() == 0
