"""Goal: the file of a Gold table describes the table, and a fault in it is reported with the file and the key.

Method: the text of files; no Spark.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from batch.gold.catalogue import plans
from batch.gold.header import parsed
from batch.gold.plan import Dependency
from config.dataset import DefinitionError, load_definition

SHOP = load_definition("project_db")

FACT = """
-- Lines of orders.
-- kind: fact
-- key: order_id, product_id
-- depends_on: order_details(order_id -> order_id), orders(id -> order_id), payment_method
-- partition: day
SELECT order_id, product_id, 1 AS day FROM order_details JOIN orders ON id = order_id  -- inner
"""


def test_a_file_says_all_of_a_table() -> None:
    plan = parsed(FACT, "fact_lines", SHOP)
    assert (plan.name, plan.kind, plan.key, plan.partition, plan.scd) == (
        "fact_lines",
        "fact",
        ("order_id", "product_id"),
        "day",
        1,
    )
    assert plan.depends_on == (
        Dependency(table="order_details", columns=(("order_id", "order_id"),)),
        Dependency(table="orders", columns=(("id", "order_id"),)),
        Dependency(table="payment_method"),
    )
    assert plan.mapped == ("order_id",)
    assert plan.tables == ["order_details", "orders", "payment_method"]
    assert plan.query.splitlines()[-1].startswith("SELECT order_id")


def test_an_inferring_dimension_is_concerned_by_what_refers_to_it() -> None:
    header = ["kind: dimension", "key: c", "depends_on: customers(id -> c)", "inferred_from: orders.customer_id"]
    text = "".join(f"-- {line}\n" for line in header) + "SELECT 1"
    plan = parsed(text, "dim", SHOP)
    assert plan.concerned_by[-1] == Dependency(table="orders", columns=(("customer_id", "c"),))


def test_another_text_is_another_fingerprint() -> None:
    assert parsed(FACT, "f", SHOP).fingerprint != parsed(FACT.replace("1 AS", "2 AS"), "f", SHOP).fingerprint


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("-- kind: fact\n", "", "kind: is missing"),
        ("kind: fact", "kind: table", "kind: must be dimension or fact, not 'table'"),
        ("kind: fact", "kind: fact\n-- kind: fact", "kind: is given twice"),
        ("kind: fact", "kind: fact\n-- kinds: fact", "kinds: unknown header key (known: kind, key,"),
        ("kind: fact", "kind: fact\n-- scd: 3", "scd: must be 1, 2 or 4, not '3'"),
        ("key: order_id, product_id", "key:", "key: is empty"),
        ("key: order_id, product_id", "key: order id", "key: 'order id' is not a valid column name"),
        ("orders(id -> order_id)", "orders(id)", "depends_on: 'orders(id)' must look like orders(id -> order_id)"),
        ("orders(id -> order_id)", "order(id -> order_id)", "depends_on: the dataset has no table 'order'"),
        ("orders(id -> order_id)", "orders(ident -> order_id)", "depends_on: table 'orders' has no column 'ident'"),
        ("orders(id -> order_id)", "orders(id -> store)", "depends_on: 'orders' must be mapped to columns of the key"),
        (
            "orders(id -> order_id)",
            "orders(id -> product_id)",
            "depends_on: 'orders' must be mapped to the same columns",
        ),
        ("payment_method", "orders", "depends_on: 'orders' is listed twice"),
        ("kind: fact", "kind: dimension", "key: a dimension must have exactly one key column"),
        ("kind: fact", "kind: fact\n-- inferred_from: orders.id", "inferred_from: allowed only for dimensions"),
        ("kind: fact", "kind: fact\n-- inferred_from: orders", "inferred_from: 'orders' must look like"),
        (FACT[FACT.index("SELECT") :], "", "query: the file has no query"),
    ],
)
def test_a_fault_is_named_with_its_key(old: str, new: str, fault: str) -> None:
    assert old in FACT
    with pytest.raises(ValueError, match=r"(?s).") as caught:
        parsed(FACT.replace(old, new), "fact_lines", SHOP)
    assert any(line.startswith(fault) for line in str(caught.value).splitlines()), str(caught.value)


def test_faults_of_all_files_are_named_with_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "gold"
    folder.mkdir()
    (folder / "dim_a.sql").write_text("SELECT 1")
    (folder / "fact_b.sql").write_text(FACT.replace("kind: fact", "kind: b"))
    definition = msgspec.structs.replace(SHOP, folder=str(tmp_path))
    with pytest.raises(DefinitionError) as caught:
        plans(definition)
    assert "project_db/gold/dim_a.sql: key: is missing" in str(caught.value)
    assert "project_db/gold/fact_b.sql: kind: must be dimension or fact, not 'b'" in str(caught.value)


def test_the_shops_dimensions_are_built_before_its_facts() -> None:
    names = [plan.name for plan in plans(SHOP)]
    assert names == [
        "dim_customer",
        "dim_date",
        "dim_payment_method",
        "dim_product",
        "fact_order_products",
        "fact_orders",
    ]


def test_comments_and_spaces_rebuild_nothing() -> None:
    def fingerprint(query: str) -> str:
        return parsed(f"-- kind: fact\n-- key: id\n-- depends_on: orders\n{query}", "fact", SHOP).fingerprint

    plain = fingerprint("SELECT id, '--' AS a FROM orders")
    assert fingerprint("-- All of them.\nSELECT id, -- the key\n  '--' AS a /* why\nnot */\nFROM orders") == plain
    others = ["SELECT id, '-- ' AS a FROM orders", "SELECT /*+ REPARTITION(1) */ id, '--' AS a FROM orders"]
    assert len({plain, *map(fingerprint, others)}) == 3
