"""Goal: a run ends without Spark only if it is proven that nothing is new; in any other case a real run follows.

Method: a manifest and folders of names, as left by the last run and the archive, each time with a single change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
import pytest

from batch import gold
from batch.errors import BatchError
from batch.pipeline.manifest import Manifest, TableRun
from batch.pipeline.plan import table_names
from batch.pipeline.up_to_date import find_up_to_date
from batch.silver.shape import fingerprint
from batch.storage.paths import Lake
from config.dataset import load_definition
from config.definition import Definition
from streams.model.archive_chain import LAST_OFFSET
from streams.topics import change_topic
from tests.lake.shop_changes import shop_with

NOON = datetime(2025, 5, 6, 12, tzinfo=UTC)
LAKE = Lake(bronze="s3a://bronze", silver="s3a://silver", gold="s3a://gold")
POSITION = 40
"""The next offset of every partition."""


def topic(table: str) -> str:
    return change_topic("project_db", table)


def object_name(start: int) -> str:
    return f"{start:020d}.parquet"


def commit_name(version: int) -> str:
    return f"{version:020d}.json"


class Folder:
    """A stand-in for a folder: objects with their metadata by name, and folders."""

    def __init__(self) -> None:
        self.objects: dict[str, Mapping[str, str]] = {}
        self.inside: list[str] = []
        self.asked_after: list[str] = []
        self.is_away = False

    def names(self, *, after: str = "") -> list[str]:
        self.asked_after.append(after)
        if self.is_away:
            raise BatchError("can't reach the object storage")
        return sorted(name for name in self.objects if name > after)

    def folders(self) -> list[str]:
        return self.inside

    def metadata(self, name: str) -> Mapping[str, str]:
        if name not in self.objects:
            raise FileNotFoundError(name)
        return self.objects[name]

    def read(self, name: str) -> bytes:
        raise AssertionError(f"the content of {name} is of no concern")

    def write(self, name: str, content: bytes) -> None:
        raise AssertionError(f"nothing is written, so not {name} with {content!r}")

    replace = write

    def remove(self, name: str) -> None:
        raise AssertionError(f"nothing is deleted, so not {name}")

    def keeps_versions(self) -> bool:
        return False

    def put(self, start: int, last: int) -> None:
        self.objects[object_name(start)] = {LAST_OFFSET: str(last)}


class LakeStateTestbed:
    """A lake that is up to date with its archive."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.folders: dict[str, Folder] = {}
        self.manifest = self._manifest()
        for table in self.definition.tables:
            self.chain(table.name).put(0, 18)
            self.chain(table.name).put(19, POSITION - 1)
        for place in self._places().values():
            self.at(f"{place}/_delta_log").objects = {commit_name(number): {} for number in range(4)}

    def at(self, uri: str) -> Folder:
        return self.folders.setdefault(uri, Folder())

    def chain(self, table: str, partition: int = 0) -> Folder:
        archive, name = LAKE.changes(topic(table)), f"{partition:05d}"
        folder = self.at(archive)
        folder.inside = sorted({*folder.inside, name})
        return self.at(f"{archive}/{name}")

    def log(self, name: str) -> Folder:
        return self.at(f"{self._places()[name]}/_delta_log")

    def find_up_to_date(self) -> list[TableRun] | None:
        return find_up_to_date(self.manifest, self.definition, LAKE, self.at)

    def change_manifest(self, **changed: object) -> None:
        self.manifest = msgspec.structs.replace(self.manifest, **changed)

    def change_feed(self, name: str, feed: str) -> None:
        tables = tuple(
            msgspec.structs.replace(table, feed=feed) if table.name == name else table
            for table in self.definition.tables
        )
        self.definition = msgspec.structs.replace(self.definition, tables=tables)

    def _places(self) -> dict[str, str]:
        names = [(layer, name) for layer in ("bronze", "silver") for name in table_names(self.definition, layer)]
        places = {f"{layer}/{name}": LAKE.table(layer, name) for layer, name in names}
        for plan in gold.plans(self.definition):
            places[f"gold/{plan.name}"] = (LAKE.dimension if plan.kind == "dimension" else LAKE.fact)(plan.name)
        return places

    def _manifest(self) -> Manifest:
        versions = dict.fromkeys(self._places(), 3)
        progress: dict[str, dict[str, object]] = {}
        for table in self.definition.tables:
            progress[f"bronze/{table.name}"] = {f"{topic(table.name)}/0": POSITION}
            progress[f"silver/{table.name}"] = {"bronze": 3, "definition": fingerprint(table)}
        for plan in gold.plans(self.definition):
            shown = dict.fromkeys([*plan.tables, *(f"gold/{link.dimension}" for link in plan.links)], 3)
            progress[f"gold/{plan.name}"] = {"silver": shown, "definition": plan.fingerprint}
        return Manifest(
            run_id="20250506T120000.000000Z-abcdef",
            dataset="project_db",
            started_at=NOON,
            ended_at=NOON,
            tables=[],
            versions=versions,
            progress=progress,
        )


@pytest.fixture
def testbed() -> LakeStateTestbed:
    return LakeStateTestbed(load_definition("project_db"))


def test_a_lake_with_all_of_the_archive_is_up_to_date(testbed: LakeStateTestbed) -> None:
    found = testbed.find_up_to_date()
    assert found is not None
    assert {table.name: table.version for table in found} == testbed.manifest.versions
    assert [table.layer for table in found] == ["bronze"] * 4 + ["silver"] * 4 + ["gold"] * 6
    assert all(table.unchanged and table.progress == testbed.manifest.progress[table.name] for table in found)


def test_history_tables_are_compared_with_the_manifest_too() -> None:
    testbed = LakeStateTestbed(shop_with(2))
    assert testbed.find_up_to_date() is not None
    testbed.log("silver/customers_history").objects[commit_name(4)] = {}
    assert testbed.find_up_to_date() is None


def test_a_table_without_any_change_is_up_to_date(testbed: LakeStateTestbed) -> None:
    folder = testbed.at(LAKE.changes(topic("customers")))
    folder.inside = []
    testbed.change_manifest(progress={k: v for k, v in testbed.manifest.progress.items() if k != "bronze/customers"})
    assert testbed.find_up_to_date() is not None


def test_tables_beyond_the_definition_are_of_no_concern(testbed: LakeStateTestbed) -> None:
    beyond = {"silver/quarantine": 9, "silver/left_the_definition": 4}
    testbed.change_manifest(versions=testbed.manifest.versions | beyond)
    assert testbed.find_up_to_date() is not None


def test_of_a_long_chain_only_the_end_is_listed(testbed: LakeStateTestbed) -> None:
    at, chain = 5_000_000, testbed.chain("orders")
    chain.objects.clear()
    for start in range(0, at, 100_000):
        chain.put(start, start + 99_999)
    testbed.manifest.progress["bronze/orders"] = {f"{topic('orders')}/0": at}
    assert testbed.find_up_to_date() is not None
    assert chain.asked_after == [f"{4_000_000:020d}"]


def test_an_object_far_before_the_end_is_still_found(testbed: LakeStateTestbed) -> None:
    at, chain = 5_000_000, testbed.chain("orders")
    chain.objects.clear()
    chain.put(0, at - 1)
    testbed.manifest.progress["bronze/orders"] = {f"{topic('orders')}/0": at}
    assert testbed.find_up_to_date() is not None
    chain.put(0, at)  # it was archived again, and holds more
    assert testbed.find_up_to_date() is None


def new_object(testbed: LakeStateTestbed) -> None:
    testbed.chain("orders").put(POSITION, POSITION + 5)


def new_partition(testbed: LakeStateTestbed) -> None:
    testbed.chain("orders", 1).put(0, 0)


def longer_object(testbed: LakeStateTestbed) -> None:
    testbed.chain("customers").put(19, POSITION)


def gap_in_the_chain(testbed: LakeStateTestbed) -> None:
    testbed.chain("orders").put(POSITION + 10, POSITION + 20)


def object_without_metadata(testbed: LakeStateTestbed) -> None:
    testbed.chain("orders").objects[object_name(19)] = {}


def object_with_odd_metadata(testbed: LakeStateTestbed) -> None:
    testbed.chain("orders").objects[object_name(19)] = {LAST_OFFSET: "many"}


def error_of_the_last_run(testbed: LakeStateTestbed) -> None:
    testbed.change_manifest(tables=[TableRun(layer="silver", table="orders", error="broken")])


def commit_since(testbed: LakeStateTestbed) -> None:
    testbed.log("silver/orders").objects[commit_name(4)] = {}


def table_removed(testbed: LakeStateTestbed) -> None:
    testbed.log("gold/dim_date").objects.clear()


def table_rebuilt(testbed: LakeStateTestbed) -> None:
    testbed.log("bronze/orders").objects = {commit_name(0): {}}


def silver_behind_bronze(testbed: LakeStateTestbed) -> None:
    testbed.manifest.versions["bronze/orders"] = 4
    testbed.log("bronze/orders").objects[commit_name(4)] = {}


def gold_behind_silver(testbed: LakeStateTestbed) -> None:
    testbed.manifest.progress["gold/fact_orders"]["silver"] = {"orders": 2}


def other_definition(testbed: LakeStateTestbed) -> None:
    testbed.manifest.progress["silver/orders"]["definition"] = "another"


def other_gold_file(testbed: LakeStateTestbed) -> None:
    testbed.manifest.progress["gold/dim_date"]["definition"] = "another"


def table_without_a_run(testbed: LakeStateTestbed) -> None:
    del testbed.manifest.versions["gold/dim_product"]


def feed_from_the_database(testbed: LakeStateTestbed) -> None:
    testbed.change_feed("orders", "jdbc")


def feed_from_the_database_before(testbed: LakeStateTestbed) -> None:
    testbed.manifest.progress["bronze/orders"] = {"anchor": "2025-05-06 12:00:00.000000"}


def position_of_another_topic(testbed: LakeStateTestbed) -> None:
    testbed.manifest.progress["bronze/orders"] = {f"{topic('customers')}/0": POSITION}


def storage_away(testbed: LakeStateTestbed) -> None:
    testbed.chain("orders").is_away = True


@pytest.mark.parametrize(
    "oddity",
    [
        new_object, new_partition, longer_object, gap_in_the_chain, object_without_metadata, object_with_odd_metadata,
        error_of_the_last_run, commit_since, table_removed, table_rebuilt, silver_behind_bronze, gold_behind_silver,
        other_definition, other_gold_file, table_without_a_run, feed_from_the_database,
        feed_from_the_database_before, position_of_another_topic, storage_away,
    ],
    ids=lambda oddity: oddity.__name__,
)  # fmt: skip
def test_a_lake_is_not_up_to_date_when_there_is(
    testbed: LakeStateTestbed, oddity: Callable[[LakeStateTestbed], None]
) -> None:
    oddity(testbed)
    assert testbed.find_up_to_date() is None
