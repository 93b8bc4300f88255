"""Goal: bad rows of the shipped datasets are counted by a rule, and set aside where they would spoil results.

Method: hand-made rows in a folder's lake, under the shipped definitions.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from pyspark.sql import SparkSession

from config.dataset import load_definition
from config.lake_names import in_lake
from tests.lake.lake import Change, LocalLake

DAY = "2025-01-01 00:00:00.000000"


def test_bad_rows_of_the_company_are_set_aside_or_counted(spark: SparkSession, tmp_path: Path) -> None:
    lake = LocalLake(spark, tmp_path, load_definition("firma"))
    person = {"imie": "Ewa", "nazwisko": "Nowak", "email": "e@firma.example", "stanowisko": "analityk"}
    spans = [("2025-03-01", "2025-02-01"), ("2025-03-01", "2025-03-01"), ("2025-03-01", None)]
    changes = [Change("pracownicy", at, {"id": at, "wiek": age, **person}) for at, age in enumerate((999, 30, None), 1)]
    changes += [
        Change("projekty", at, {"id": at, "nazwa": "x", "opis": None, "data_rozpoczecia": a, "data_zakonczenia": b})
        for at, (a, b) in enumerate(spans, 10)
    ]
    changes += [
        Change("klienci", at, {"id": at, "nazwa": "x", "email": "a@example.com", "kraj": None, "telefon": None})
        for at in range(100, 300)
    ]
    lake.land(changes)
    found = {name: dict(result.rejected) for name, result in lake.refine().items()}
    assert found["pracownicy"] == {"range(wiek)": 1}
    assert found["projekty"] == {"ascending(data_rozpoczecia, data_zakonczenia)": 1}
    assert found["klienci"] == {"unique(email)": 199}
    assert {row[0] for row in lake.live("pracownicy", "id")} == {2, 3}
    assert {row[0] for row in lake.live("projekty", "id")} == {11, 12}
    assert len(lake.live("klienci", "id")) == 200


def test_bad_rows_of_the_store_are_set_aside_or_counted(spark: SparkSession, tmp_path: Path) -> None:
    lake = LocalLake(spark, tmp_path, in_lake(load_definition("online_store")))
    times = {"created_at": DAY, "updated_at": DAY}
    product = {"seller_id": 1, "name": "x", "category": "toys", **times}
    prices = ("-0.01", "0.00")
    changes = [
        Change("products", at, {"product_id": at, "price": price, **product}) for at, price in enumerate(prices, 1)
    ]
    reason = {"order_item_id": str(UUID(int=9)), "kind": "return", "reason": "lost", "quantity": 1, "amount": "1.00"}
    changes += [Change("reasons", at, {"reason_id": str(UUID(int=1)), "created_at": DAY, **reason}) for at in (10, 11)]
    lake.land(changes, every=True)
    found = {name: dict(result.rejected) for name, result in lake.refine().items()}
    assert found["products"]["range(price)"] == 1
    assert found["reasons"] == {"reference(order_item_id)": 2}
    assert {row[0] for row in lake.live("products", "product_id")} == {2}
    assert len(lake.live("reasons", "reason_id")) == 1  # two changes with one id are one row
