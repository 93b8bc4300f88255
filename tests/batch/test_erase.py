"""Goal: after an erasure nothing in the lake says anything of the person, and everything else is as it was.

Method: a lake in a folder, from archived changes up to Gold, with a person who was changed, refused, unreadable and
deleted. Every byte of every file is looked through, by a reader that shares nothing with the lake.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from batch.context import RunContext
from batch.erasure.archive import Archive as OwnArchive
from batch.erasure.person import named_person
from batch.erasure.report import Entry, Report, report_text
from batch.erasure.work import Erasure
from batch.manifest import TableRun
from batch.report import print_out
from batch.run import run_steps
from batch.steps import steps
from config.settings import ObjectStoreSettings
from streams.topics import change_topic
from tests.batch.bronze_ground import DEFINITION, Archive, envelope, run_context, wrapped
from tests.batch.traces import files_of, traces

STORE = ObjectStoreSettings.read(
    {"MINIO_ENDPOINT": "http://127.0.0.1:1", "MINIO_ACCESS_KEY": "user", "MINIO_SECRET_KEY": "secret"}
)
ADA = ("Ada Lovelace", "ada@first.example", "ada@second.example", "+44 1815", "ada@refused.example", "ada@torn.example")
TIME = "2025-01-01T00:00:00Z"
LINES, BY_KEY = {"quantity": 1}, 7


def customer(id_: int, pos: int, op: str = "c", **values: Any) -> bytes:
    """A change of a customer."""
    row = {"id": id_, "name": f"Grace {id_}", "email": f"grace{id_}@mail.example", "phone": None, "tier": "gold"}
    return envelope(op, row | {"created_at": TIME, "updated_at": TIME} | values, pos=pos)


def ada(pos: int, op: str = "c", **values: Any) -> bytes:
    """A change of the person."""
    return customer(7, pos, op, **{"name": ADA[0], "email": ADA[1], "phone": ADA[3], **values})


def order(id_: str, pos: int, customer_id: int) -> bytes:
    """A change of an order."""
    row = {"id": id_, "customer_id": customer_id, "store_id": 1, "payment_method_id": 2, "num_products": 1}
    return envelope("c", row | {"timestamp": TIME}, pos=pos)


@dataclass
class Shop:
    """A lake of changes."""

    spark: SparkSession
    folder: Path
    looked_up: set[str] = field(default_factory=set)
    reports: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.customers = Archive(self.folder, change_topic("project_db", "customers"))
        self.orders = Archive(self.folder, change_topic("project_db", "orders"))

    def run(self, **more: Any) -> list[TableRun]:
        """Bronze, Silver and Gold."""
        found = run_steps(steps(self.context(**more), layer=None, table=None), lambda _: None)
        assert [table.error for table in found if table.error] == []
        return found

    def context(self, **more: Any) -> RunContext:
        """A run."""
        return run_context(self.spark, self.folder, **more)

    def erasure(self, id_: str = "7") -> Erasure:
        """An erasure as the command makes it, with a Redis and a Kafka of this test."""
        context = self.context()
        topic = change_topic("project_db", "customers")
        return Erasure(
            person=named_person(DEFINITION, id_),
            context=context,
            archive=OwnArchive(self.spark, context.lake.changes(topic), STORE, epoch=context.settings.source_epoch),
            lookup=(
                lambda: int(f"customer:{id_}" in self.looked_up),
                lambda: self.looked_up.discard(f"customer:{id_}"),
            ),
            outside=lambda values: [Entry(place="topic", found=len(values), left=len(values), is_ours=False)],
            keep=self.reports.append,
        )

    def erase(self, id_: str = "7", *, is_forced: bool = False) -> list[TableRun]:
        """Erase, and print the report."""
        found = run_steps(self.erasure(id_).steps(is_forced=is_forced), print_out)
        print_out(report_text(self.reports[-1].places))
        return found

    def table(self, layer: str, name: str) -> set[tuple[Any, ...]]:
        """Rows of a table, without what a run stamps on them."""
        rows = self.spark.read.format("delta").load(f"file://{self.folder}/{layer}/{name}")
        return {tuple(row) for row in rows.drop("_run_id", "_landed_at").collect()}

    def traces(self) -> dict[str, set[str]]:
        """Files that say something of the person."""
        return traces(files_of(self.folder), ADA)

    def archived(self) -> list[tuple[Any, ...]]:
        """All records of the customers' archive, with where they are."""
        import pyarrow.parquet as pq

        files = sorted((self.folder / "bronze" / "changes").rglob("*customers/**/*.parquet"))
        return [
            (file.name, *row.values()) for file in files for row in pq.read_table(file, partitioning=None).to_pylist()
        ]


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    """Ada among others, with an order; changed, refused once, torn once, and deleted at last, which no run has seen."""
    shop = Shop(spark, tmp_path, looked_up={"customer:7", "customer:8"})
    shop.orders.put(order("a", 100, 7), order("b", 101, 8))
    shop.customers.put(customer(1, 4), ada(5), customer(8, 6))
    shop.run()
    shop.customers.put(ada(20, "u", email=ADA[2]), customer(1, 21, "u", tier="silver"))
    shop.run()
    torn = json.dumps({"op": "u", "after": {"id": None, "email": ADA[2], "note": ADA[5]}}).encode()
    shop.customers.put(
        wrapped(ada(30, "u", email=ADA[4], created_at="yesterday")), torn, b"junk of nobody", partition=1
    )
    shop.run()
    shop.customers.put(ada(40, "d", email=ADA[2]), None)
    return shop


def places(report: Report) -> dict[str, tuple[int, int]]:
    """Found and left, by place."""
    return {entry.place: (entry.found, entry.left) for entry in report.places}


@pytest.mark.parametrize("is_run", [False, True], ids=["before the run", "after the run"])
def test_nothing_of_the_person_is_left_in_any_file(shop: Shop, is_run: bool) -> None:
    if is_run:
        shop.run()
    assert len(shop.traces()) > 10, "the reader finds what there is"
    shop.erase()
    assert shop.traces() == {}
    assert shop.looked_up == {"customer:8"}
    [report] = shop.reports
    assert report.is_verified
    assert all(
        found > 0 == left
        for place, (found, left) in places(report).items()
        if not place.startswith(("topic", "silver/orders"))
    )
