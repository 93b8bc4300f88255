"""Goal: results of Gold are published whole, once for each version, and never with personal data.

Method: small Delta tables in a folder, written without Spark, and a Redis of a dictionary.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from batch.delta.published import PublishedTable
from batch.errors import BatchError
from batch.gold.header import parsed
from batch.pipeline import results
from batch.pipeline.manifest import Manifest
from batch.pipeline.results import HEAD, PART, SUCCESS, Results
from batch.storage.paths import Lake
from config.dataset import load_definition
from config.settings import ObjectStoreSettings
from streams.adapters.redis import RedisAwayError

FIRMA = load_definition("firma")
SQL = Path(FIRMA.folder, "gold", "klienci_by_country.sql").read_text("utf-8")
STORE = ObjectStoreSettings.read(
    {"MINIO_ENDPOINT": "http://127.0.0.1:1", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "b"}
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeRedis:
    """Keys and values; away while `is_away`."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.is_away = False

    def call(self, script: object, argument: bytes) -> bytes | None:
        if self.is_away:
            raise RedisAwayError("no answer")
        if script is HEAD:
            key, length = msgspec.msgpack.decode(argument, type=tuple[str, int])
            return self.values.get(key, b"")[:length]
        key, value = msgspec.msgpack.decode(argument, type=tuple[str, str])
        self.values[key] = value.encode()
        return None


class House:
    """A lake in a folder whose Gold has one table with results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = FakeRedis()
        self.lines: list[str] = []
        sql = SQL.replace("-- export: klienci-by-country", "-- export: klienci-by-country\n-- redis: rows")
        root = f"file://{folder}"
        self.results = Results(
            plans=[parsed(sql, "klienci_by_country", FIRMA)],
            lake=Lake(bronze=root, silver=root, gold=root),
            root=f"file://{folder}/processed-data",
            store=STORE,
            redis=self.redis,
            say=self.lines.append,
        )

    @property
    def result(self) -> Path:
        return self.folder / "processed-data" / "klienci-by-country"

    def write(self, counts: dict[str | None, int]) -> int:
        """Write the next version of the Gold table."""
        rows = pa.table({"kraj": pa.array([*counts], pa.string()), "liczba_klientow": pa.array([*counts.values()])})
        path = self.folder / "facts" / "klienci_by_country"
        path.parent.mkdir(exist_ok=True)
        write_deltalake(path, rows, mode="overwrite")
        return len(list((path / "_delta_log").glob("*.json"))) - 1

    def publish(self, version: int | None, run_id: str = "") -> None:
        """Publish what the manifest of a run names; by default, each version is that of another run."""
        versions = {} if version is None else {"gold/klienci_by_country": version}
        run_id = run_id or f"run {version}"
        self.results.publish(
            Manifest(run_id=run_id, dataset="firma", started_at=NOW, ended_at=NOW, tables=[], versions=versions)
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_result_is_a_plain_parquet_folder_and_a_group_without_a_value_is_in_it(house: House) -> None:
    house.publish(house.write({"Polska": 3, None: 2, "Česko": 1}))
    assert sorted(path.name for path in house.result.iterdir()) == [SUCCESS, PART]
    found = {row["kraj"]: row["liczba_klientow"] for row in pq.read_table(house.result).to_pylist()}
    assert found == {"Polska": 3, None: 2, "Česko": 1}


def test_redis_has_the_rows_with_run_and_time(house: House) -> None:
    version = house.write({"Polska": 3})
    house.publish(version)
    found = json.loads(house.redis.values["analytics:klienci_by_country"])
    assert found["rows"] == [{"kraj": "Polska", "liczba_klientow": 3}]
    assert (found["table"], found["run_id"]) == ("klienci_by_country", f"run {version}")
    assert datetime.fromisoformat(found["time"]) > NOW


def test_a_version_is_published_once(house: House) -> None:
    version = house.write({"Polska": 3})
    house.publish(version)
    first, house.lines[:] = (house.result / PART).stat().st_ino, []
    house.publish(version)
    assert (house.result / PART).stat().st_ino == first
    assert house.lines == []


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions of tables that are opened during the test."""
    found: list[int] = []

    def counted(uri: str, version: int, store: ObjectStoreSettings) -> PublishedTable:
        found.append(version)
        return PublishedTable(uri, version, store)

    monkeypatch.setattr(results, "PublishedTable", counted)
    return found


def test_a_table_is_opened_once_for_each_manifest(house: House, opened: list[int]) -> None:
    version = house.write({"Polska": 3})
    for run_id in ("first", "first", "second", "second", "second"):
        house.publish(version, run_id)
    assert opened == [version, version]


def test_a_result_that_was_lost_is_published_again_by_the_same_process(house: House, opened: list[int]) -> None:
    version = house.write({"Polska": 3})
    house.publish(version)
    del house.redis.values["analytics:klienci_by_country"]
    (house.result / SUCCESS).unlink()
    house.publish(version)
    assert list(house.redis.values) == ["analytics:klienci_by_country"]
    assert (house.result / SUCCESS).exists()
    assert opened == [version, version]


def test_a_publication_that_failed_is_made_up_for_by_the_same_process(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise BatchError("the object storage is full")

    version = house.write({"Polska": 3})
    with monkeypatch.context() as patched:
        patched.setattr(pq, "write_table", full)
        with pytest.raises(BatchError, match="is full"):
            house.publish(version)
    house.publish(version)
    assert pq.read_table(house.result / PART).to_pylist() == [{"kraj": "Polska", "liczba_klientow": 3}]


def test_a_run_that_was_killed_before_the_mark_is_made_up_for(house: House) -> None:
    house.publish(house.write({"Polska": 3}))
    old = (house.result / SUCCESS).read_bytes()
    version = house.write({"Polska": 4})
    house.publish(version)
    (house.result / SUCCESS).write_bytes(old)
    (house.result / PART).write_bytes(b"half")
    house.publish(version)
    assert pq.read_table(house.result / PART).to_pylist() == [{"kraj": "Polska", "liczba_klientow": 4}]


def test_a_table_that_was_made_again_is_published_although_its_version_is_known(house: House, tmp_path: Path) -> None:
    house.publish(house.write({"Polska": 3}))
    (tmp_path / "facts" / "klienci_by_country").rename(tmp_path / "old")
    house.publish(house.write({"Polska": 5}), "again")
    assert pq.read_table(house.result / PART).to_pylist() == [{"kraj": "Polska", "liczba_klientow": 5}]


@pytest.mark.parametrize("fault", ["a feature of Spark", "a lost file", "a lost table"])
def test_a_table_that_cannot_be_read_fails_the_run_and_not_the_service(house: House, fault: str) -> None:
    version = house.write({"Polska": 3})
    table = house.folder / "facts" / "klienci_by_country"
    if fault == "a feature of Spark":
        features = ["typeWidening"]
        protocol = {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": features,
            "writerFeatures": features,
        }
        version += 1
        (table / "_delta_log" / f"{version:020d}.json").write_text(json.dumps({"protocol": protocol}))
    elif fault == "a lost file":
        next(table.glob("*.parquet")).unlink()
    else:
        table.rename(house.folder / "elsewhere")
    with pytest.raises(BatchError, match="typeWidening.*delete its folder" if "feature" in fault else "gold/klienci"):
        house.publish(version)


def test_a_table_that_no_run_has_published_has_no_result(house: House) -> None:
    house.write({"Polska": 3})
    house.publish(None)
    assert not house.result.exists()


def test_redis_is_written_by_the_next_run_if_it_is_away(house: House) -> None:
    version = house.write({"Polska": 3})
    house.redis.is_away = True
    house.publish(version)
    assert house.redis.values == {}
    assert "analytics:klienci_by_country" in house.lines[-1]
    house.redis.is_away = False
    house.publish(version)
    assert list(house.redis.values) == ["analytics:klienci_by_country"]


def test_a_reader_sees_all_rows_of_one_version_while_it_is_replaced(house: House) -> None:
    house.publish(house.write({str(number): 0 for number in range(500)}))
    stop, sums = threading.Event(), list[set[Any]]()

    def read() -> None:
        while not stop.is_set():
            rows = pq.read_table(pa.BufferReader((house.result / PART).read_bytes()))
            sums.append({rows.num_rows, *rows["liczba_klientow"].to_pylist()})

    reader = threading.Thread(target=read)
    reader.start()
    for value in range(1, 20):
        house.publish(house.write({str(number): value for number in range(500)}))
    stop.set()
    reader.join()
    assert sums
    assert all(len(found) == 2 for found in sums)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("-- export: klienci-by-country", "-- export: ../klienci", "export: "),
        ("-- export: klienci-by-country", "-- redis: all", "redis: must be rows"),
        ("from klienci.kraj", "from klienci.email", "is personal data"),
        ("-- kind: fact", "-- kind: dimension", "allowed only for facts"),
    ],
)
def test_what_cannot_be_published_is_refused(old: str, new: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parsed(SQL.replace(old, new), "klienci_by_country", FIRMA)
