"""Goal: after an erasure nothing in the lake says anything of the person, and everything else is as it was.

Method: a lake in a folder, from archived changes up to Gold, with a person who was changed, refused, unreadable and
deleted. Every byte of every file is looked through, by a reader that shares nothing with the lake.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.context import RunContext
from batch.delta.log import DeltaLog
from batch.delta.table import LakeTable
from batch.erasure.archive import Archive as OwnArchive
from batch.erasure.person import named_person, rows_elsewhere
from batch.erasure.report import Entry, Report, combined
from batch.erasure.work import Erasure, with_shared_values
from batch.errors import BatchError
from batch.pipeline.manifest import TableRun
from batch.pipeline.plan import steps
from batch.pipeline.runner import run_steps
from batch.spark.session import Sessions
from config.dataset import SHIPPED
from config.definition import Column, Definition, LogicalType, Pattern, Table
from config.settings import ObjectStoreSettings
from streams.topics import change_topic
from tests.lake.traces import files_of, traces
from tests.support.lake.bronze_testbed import DEFINITION, Archive, envelope, run_context, wrapped
from tests.support.lake.delta_rows import delta_rows

# On every push the commands' tests erase a person on real servers and look through every object.
pytestmark = pytest.mark.nightly

ADA = (
    *("Ada Lovelace", "ada@first.example", "ada@second.example", "+44 1815", "ada@refused.example", "ada@torn.example"),
    *("Countess 1815", "Ada's first note", "Ada's refused note", "Ada's note of before", "Ada's torn note"),
)
NOWHERE = ObjectStoreSettings.read(
    {"MINIO_ENDPOINT": "http://127.0.0.1:1", "MINIO_ACCESS_KEY": "user", "MINIO_SECRET_KEY": "secret"}
)
TIME = "2025-01-01T00:00:00Z"
CUSTOMERS, ORDERS, NOTES = (change_topic("project_db", name) for name in ("customers", "orders", "notes"))
KEPT_TABLES = (
    "bronze/customers",
    "silver/customers",
    "silver/customers_history",
    "bronze/notes",
    "silver/notes",
    "silver/notes_history",
    "gold/dimensions/dim_customer",
    "gold/dimensions/dim_customer_history",
    "gold/facts/fact_orders",
)


def customer(id_: int, pos: int, op: str = "c", **values: Any) -> bytes:
    """A change of a customer."""
    row = {"id": id_, "name": f"Grace {id_}", "email": f"grace{id_}@mail.example", "phone": None, "tier": "gold"}
    return envelope(op, row | {"created_at": TIME, "updated_at": TIME} | values, pos=pos)


def ada(pos: int, op: str = "c", **values: Any) -> bytes:
    """A change of the person."""
    # The definition lacks the last one.
    own = {"name": ADA[0], "email": ADA[1], "phone": ADA[3], "title": ADA[6]}
    return customer(7, pos, op, **{**own, **values})


def note(id_: int, customer_id: int, text: str, pos: int, op: str = "c", before: dict[str, Any] | None = None) -> bytes:
    """A change of a note about a customer; `before` has what was different before it."""
    row = {"id": id_, "customer_id": customer_id, "text": text}
    value = envelope(op, row, pos=pos)
    return value if before is None else json.dumps(json.loads(value) | {"before": row | before}).encode()


def order(id_: str, pos: int, customer_id: int) -> bytes:
    """A change of an order."""
    row = {"id": id_, "customer_id": customer_id, "store_id": 1, "payment_method_id": 2, "num_products": 1}
    return envelope("c", row | {"timestamp": TIME}, pos=pos)


@dataclass
class Shop:
    """A lake of changes."""

    spark: SparkSession
    folder: Path
    definition: Definition
    looked_up: set[str] = field(default_factory=set)
    reports: list[Report] = field(default_factory=list)

    def copied(self, folder: Path) -> Shop:
        """The same lake in a new folder, for one test to go on with."""
        shutil.copytree(self.folder, folder)
        return Shop(self.spark, folder, self.definition, looked_up={*self.looked_up})

    def run(self, **more: Any) -> list[TableRun]:
        """Bronze, Silver and Gold."""
        work = steps(self.context(**more), layer=None, table=None, sessions=Sessions(self.spark))
        found = run_steps(work, lambda _: None)
        assert [table.error for table in found if table.error] == []
        return found

    def context(self, **more: Any) -> RunContext:
        """A run."""
        return run_context(self.spark, self.folder, definition=self.definition, **more)

    def erase(self, id_: str = "7", *, is_forced: bool = False) -> list[TableRun]:
        """An erasure as the command makes it, with a Redis and a Kafka of this test; the report is kept."""
        context, key, person = self.context(), f"customer:{id_}", named_person(self.definition, id_)
        lookup = (lambda: int(key in self.looked_up), lambda: self.looked_up.discard(key))
        reports: list[Report] = []
        erasures = [
            Erasure(
                person=each,
                context=context,
                archive=OwnArchive(
                    self.spark, context.lake.changes(change_topic("project_db", each.table.name)), NOWHERE
                ),
                lookup=lookup if each.is_own else None,
                outside=lambda values: [Entry(place="topic", found=len(values), left=len(values), is_ours=False)],
                keep=reports.append,
            )
            for each in [*rows_elsewhere(person, self.definition), person]
        ]
        work = (each.steps(is_forced=is_forced) for each in with_shared_values(erasures))
        found = run_steps(itertools.chain.from_iterable(work), print)
        self.reports.append(combined(reports))
        return found

    def others(self) -> dict[str, set[tuple[Any, ...]]]:
        """Rows of the tables that are of somebody else."""
        found = {}
        for name in KEPT_TABLES:
            rows = delta_rows(f"{self.folder}/{name}")
            own = "customer_id" if "notes" in name else "id"
            kept = [row for row in rows if "fact" in name or row.get(own, row.get("customer_id")) not in (7, "7")]
            left_out = {"_run_id", "_landed_at"}
            found[name] = {tuple(value for key, value in row.items() if key not in left_out) for row in kept}
        return found

    def member(self) -> list[tuple[Any, ...]]:
        """The person in Gold."""
        columns = ("name", "email", "is_inferred")
        rows = delta_rows(f"{self.folder}/gold/dimensions/dim_customer", columns, where="customer_id = 7")
        return [tuple(row.values()) for row in rows]

    def traces(self) -> dict[str, set[str]]:
        """Files that say something of the person."""
        return traces(files_of(self.folder), ADA)

    def archived(self) -> list[dict[str, Any]]:
        """All records of the customers' archive, with the objects they are in."""
        files = sorted((self.folder / "bronze" / "changes" / CUSTOMERS).rglob("*.parquet"))
        return [
            {"file": str(file), **row} for file in files for row in pq.read_table(file, partitioning=None).to_pylist()
        ]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Definition:
    """The shop with its customers, whose versions are kept beside them, and orders only."""
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "gold").mkdir()
    for name in ("dim_customer.sql", "fact_orders.sql"):
        text = (SHIPPED / "project_db" / "gold" / name).read_text()
        (folder / "gold" / name).write_text(text.replace(", dim_payment_method(payment_method_id at ordered_at)", ""))
    orders = DEFINITION.table("orders")
    orders = msgspec.structs.replace(orders, rules=tuple(r for r in orders.rules if "payment" not in str(r)))
    columns = (
        Column(name="id", type=LogicalType.INTEGER),
        Column(name="customer_id", type=LogicalType.INTEGER, nullable=True, subject="customer"),
        Column(name="text", type=LogicalType.STRING, personal=True),
    )
    rule = Pattern(column="text", pattern="(?!.*refused).*", action="quarantine")
    notes = Table(name="notes", key=("id",), columns=columns, rules=(rule,), history=2)
    tables = (msgspec.structs.replace(DEFINITION.table("customers"), history=4), orders, notes)
    return msgspec.structs.replace(DEFINITION, folder=str(folder), tables=tables, completeness=None)


@pytest.fixture(scope="module")
def filled(spark: SparkSession, small: Definition, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Ada among others, with an order; changed, refused once, torn once, and deleted at last, which no run has seen."""
    folder = tmp_path_factory.mktemp("filled")
    shop, customers = Shop(spark, folder, small, looked_up={"customer:7", "customer:8"}), Archive(folder, CUSTOMERS)
    Archive(folder, ORDERS).put(order("a", 100, 7), order("b", 101, 8))
    notes = Archive(folder, NOTES)
    customers.put(customer(1, 4), ada(5), customer(8, 6))
    notes.put(note(1, 7, ADA[7], 7), note(2, 7, ADA[8], 8), note(3, 8, "of Grace", 9), note(4, 7, ADA[9], 10))
    shop.run()
    notes.put(note(4, 8, "of Grace now", 22, "u", {"customer_id": 7, "text": ADA[9]}))
    notes.put(json.dumps({"op": "u", "after": {"customer_id": 7, "text": ADA[10], "to": ADA[1]}}).encode())
    notes.put(note(1, 7, ADA[7], 23, "d"), note(2, 7, ADA[8], 24, "d"))
    customers.put(ada(20, "u", email=ADA[2]), customer(1, 21, "u", tier="silver"))
    torn = json.dumps({"op": "u", "after": {"id": None, "email": ADA[2], "note": ADA[5]}}).encode()
    refused = wrapped(ada(30, "u", email=ADA[4], created_at="yesterday"))
    customers.put(refused, torn, b"junk of nobody", customer(8, 31, "u", name=ADA[0][:3]), partition=1)
    shop.run()
    customers.put(ada(40, "d", email=ADA[2]), None)
    return shop


@pytest.fixture
def shop(filled: Shop, tmp_path: Path) -> Shop:
    """A copy of it."""
    return filled.copied(tmp_path / "lake")


@dataclass(frozen=True)
class Erased:
    """A lake after an erasure, and the contents before."""

    shop: Shop
    errors: list[str]
    traces: set[str]
    others: dict[str, set[tuple[Any, ...]]]
    archived: list[dict[str, Any]]


@pytest.fixture(scope="module")
def erased(filled: Shop, tmp_path_factory: pytest.TempPathFactory) -> Erased:
    """A copy of the filled lake from which Ada was erased."""
    shop = filled.copied(tmp_path_factory.mktemp("erased") / "lake")
    written = {text for found in shop.traces().values() for text in found}
    others, archived = shop.others(), shop.archived()
    return Erased(shop, errors_of(shop.erase()), written, others, archived)


def errors_of(tables: list[TableRun]) -> list[str]:
    """The errors of an erasure."""
    return [str(table.error) for table in tables if table.error]


def places(report: Report) -> dict[str, tuple[int, int]]:
    """Found and left in the places that are ours."""
    return {entry.place: (entry.found, entry.left) for entry in report.places if entry.is_ours}


def test_nothing_of_the_person_is_left_and_nothing_else_is_touched(erased: Erased) -> None:
    shop = erased.shop
    assert erased.traces == {*ADA}, "the reader finds what there is"
    assert erased.errors == []
    assert shop.traces() == {}
    assert (shop.others(), shop.member()) == (erased.others, [(None, None, True)])
    assert shop.looked_up == {"customer:8"}
    report = shop.reports[0]
    assert report.is_verified
    assert places(report).keys() == {
        "archive", "bronze/customers", "silver/customers", "silver/customers_history", "silver/quarantine",
        "gold/dim_customer", "gold/dim_customer_history", "Redis look-up",
        "bronze/notes", "silver/notes", "silver/notes_history",
    }  # fmt: skip
    assert all(found > 0 and left == 0 for found, left in places(report).values()), places(report)
    own = [5, 20, 30, 40]
    emptied = [row | {"value": None} if _is_own(row["value"], own) else row for row in erased.archived]
    assert shop.archived() == emptied
    assert (
        sum(row["value"] is None for row in emptied) == len(own) + 2
    )  # the torn one, and the tombstone that was there


def _is_own(value: bytes | None, positions: list[int]) -> bool:
    text = (value or b"").decode()
    return "torn.example" in text or any(f'"pos": {position},' in text for position in positions)


def test_the_lake_goes_on_and_is_made_anew_without_the_person(erased: Erased, tmp_path: Path) -> None:
    shop = erased.shop.copied(tmp_path / "lake")
    others = shop.others()
    shop.run()  # reads the person's deletion, which was archived and had not been read before the erasure
    assert (shop.traces(), shop.others(), shop.member()) == ({}, others, [(None, None, True)])
    assert all(table.unchanged for table in shop.run()), "the next run has nothing to do"
    again = shop.erase()
    assert "no data of this person found" in again[-1].note
    assert all(table.unchanged for table in again)
    assert {found for found, _ in places(shop.reports[-1]).values()} == {0}
    shop.run(full=True)
    assert shop.traces() == {}
    assert (shop.others(), shop.member()) == (others, [(None, None, True)])


def killed_at(method: Callable[..., Any], at: int) -> Callable[..., Any]:
    """A function that is killed the n-th time it is called."""
    calls = 0

    def called(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        return method(*arguments, **more)

    return called


def test_an_erasure_that_was_killed_is_repeated(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    moments: list[tuple[type, str, int]] = [
        (LakeTable, "remove", 2),
        (DeltaLog, "forget_past", 2),
    ]
    for owner, name, call in moments:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, killed_at(getattr(owner, name), call))
            with pytest.raises(KeyboardInterrupt):
                shop.erase()
    assert shop.reports == []
    shop.erase()
    assert [report.is_verified for report in shop.reports] == [True]
    assert shop.traces() == {}


def test_an_erasure_that_left_something_names_it_and_is_repeated(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(DeltaLog, "forget_past", lambda log: None)  # older versions stay, with their files
        patched.setattr(DeltaLog, "delete", lambda log, files: None)
        of_notes, of_person = errors_of(shop.erase())
    assert " bronze/notes, silver/notes, silver/notes_history" in of_notes
    assert " bronze/customers, silver/customers, silver/customers_history, " in of_person
    assert errors_of(shop.erase()) == []
    assert [report.is_verified for report in shop.reports] == [False, True]


@pytest.mark.parametrize(
    ("id_", "fault"),
    [
        ("1", "bronze/customers: the archive has no deletion"),
        ("8", "silver/notes: the lake does not have the deletion"),
    ],
)
def test_a_deletion_that_has_not_come_is_waited_for(erased: Erased, tmp_path: Path, id_: str, fault: str) -> None:
    with pytest.raises(BatchError, match=f"{fault} .* --force"):
        erased.shop.copied(tmp_path / "lake").erase(id_)


def test_an_erasure_may_be_forced_before_the_deletion_has_come(shop: Shop) -> None:
    shop.erase("8", is_forced=True)
    assert shop.reports[0].is_verified
    assert traces(files_of(shop.folder), ["grace8@mail.example"]) == {}
