"""Goal: the dictionary is complete and never out of date, and malformed descriptions are errors.

Method: the shipped dataset, and small definitions and files with a single change. No Spark session.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from batch.__main__ import main
from batch.commands.dictionary import dictionary_path
from batch.dictionary import dictionary_text
from batch.gold import plans
from batch.gold.header import parsed
from config.dataset import DefinitionError, known_datasets, load_definition, load_definition_file

SHOP = load_definition("project_db")
GOOD = """\
-- The orders.
-- kind: fact
-- key: order_id
-- depends_on: orders(id -> order_id)
-- column: order_id string from orders.id: Id of the order.
-- column: score decimal(10,2) from orders.store_id, orders.customer_id: A figure.
-- column: one int: The number 1: always.
SELECT id AS order_id, 1.0 AS score, 1 AS one FROM orders
"""


@pytest.mark.parametrize("name", known_datasets())
def test_the_dictionary_file_is_up_to_date(name: str) -> None:
    definition = load_definition(name)
    path = dictionary_path(definition)
    assert path.exists(), "run `millrace lake dictionary`"
    assert path.read_text("utf-8") == dictionary_text(definition, plans(definition)), "run `millrace lake dictionary`"


@pytest.mark.parametrize("name", known_datasets())
def test_every_table_and_column_of_a_shipped_dataset_has_a_meaning(name: str) -> None:
    definition = load_definition(name)
    for table in definition.tables:
        assert table.description, table.name
        assert [column.name for column in table.columns if not column.description] == [], table.name
    for plan in plans(definition):
        assert plan.description, plan.name
        assert plan.columns, plan.name


def test_columns_are_read_with_type_sources_and_meaning() -> None:
    order_id, score, one = parsed(GOOD, "x", SHOP).columns
    assert (order_id.name, order_id.type, order_id.sources, order_id.meaning) == (
        "order_id",
        "string",
        (("orders", "id"),),
        "Id of the order.",
    )
    assert (score.type, score.sources) == ("decimal(10,2)", (("orders", "store_id"), ("orders", "customer_id")))
    assert (one.sources, one.meaning) == ((), "The number 1: always.")


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("order_id string from", "order_id from", "column: 'order_id from orders.id: Id of the order.' must look like"),
        ("orders.id: Id of the order.", "orders.id:", "column: 'order_id string from orders.id:' must look like"),
        ("from orders.id:", "from orders:", "must look like <name> <type> from <table>.<column>, …: <meaning>"),
        ("one int:", "One Int:", "column: 'One Int: The number 1: always.' must look like"),
        ("column: one", "column: score", "column: 'score' is described twice"),
        ("from orders.id", "from orders.ident", "source orders.ident of 'order_id' is not a column"),
        ("from orders.id", "from customers.id", "source customers.id of 'order_id' is not a column"),
        ("-- column: order_id string from orders.id: Id of the order.\n", "", "column: key column 'order_id' is not"),
    ],
)
def test_a_malformed_column_line_is_an_error(before: str, after: str, fault: str) -> None:
    assert before in GOOD
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is looked at
        parsed(GOOD.replace(before, after), "x", SHOP)
    assert fault in str(caught.value)
    assert all(line.startswith("column: ") for line in str(caught.value).splitlines())


def test_a_changed_description_rebuilds_no_table_but_a_changed_query_does() -> None:
    plan = parsed(GOOD, "x", SHOP)
    assert parsed(GOOD.replace("A figure.", "A better word."), "x", SHOP).fingerprint == plan.fingerprint
    assert parsed(GOOD.replace("1 AS one", "2 AS one"), "x", SHOP).fingerprint != plan.fingerprint
    assert "column" not in plan.query


def test_a_dataset_without_descriptions_and_gold_has_a_dictionary_too(tmp_path: Path) -> None:
    table = {
        "name": "things",
        "key": ["id"],
        "cursor": "changed",
        "feed": "jdbc",
        "history": 2,
        "columns": [
            {"name": "id", "type": "uuid"},
            {"name": "changed", "type": "timestamp"},
            {
                "name": "price",
                "type": "decimal",
                "precision": 8,
                "scale": 2,
                "nullable": True,
                "description": "a|b <i> *",
            },
        ],
        "rules": [
            {"check": "range", "column": "price", "min": 0, "max": 9.5, "action": "quarantine"},
            {"check": "pattern", "column": "id", "pattern": "a|b", "action": "warn"},
        ],
    }
    document = {"name": "mine", "engine": "mysql", "database": "shop", "lake_prefix": "mine", "tables": [table]}
    path = tmp_path / "definition.yaml"
    path.write_text(yaml.safe_dump(document))
    definition = load_definition_file(path)
    text = dictionary_text(definition, plans(definition))
    assert "| `price` | decimal | decimal(8,2) | yes | a\\|b &lt;i> \\* |" in text
    assert "| `id` | uuid | string | no | – |" in text
    assert "- source: `shop.things`, read from the database itself" in text
    assert "- history: 2: a row for each state" in text
    assert "- goes into: no Gold table" in text
    assert "| `range(price)` | `price` is at least 0 and at most 9.5 | the row is kept out of Silver" in text
    assert "| `pattern(id)` | the whole value of `id` matches `a\\|b` | the row is counted, and" in text
    assert "## Gold" not in text
    assert "- topic:" not in text


def test_the_command_writes_the_file_and_detects_an_outdated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "project_db"
    (folder / "gold").mkdir(parents=True)
    for path in Path(SHOP.folder).rglob("*"):
        if path.name == "definition.yaml" or path.parent.name == "gold":
            (folder / path.relative_to(SHOP.folder)).write_text(path.read_text())
    monkeypatch.setenv("DATASETS_DIR", str(tmp_path))
    assert main(["dictionary", "--check"]) == 1
    assert main(["dictionary"]) == 0
    assert main(["dictionary", "--check", "--dataset", "project_db"]) == 0
    assert (folder / "dictionary.md").read_text() == dictionary_path(SHOP).read_text()
    (folder / "gold" / "dim_product.sql").write_text("-- column: x\n")
    with pytest.raises(DefinitionError):
        plans(load_definition("project_db"))
    capsys.readouterr()
    assert main(["dictionary", "--check"]) == 1
    assert "project_db/gold/dim_product.sql: column: 'x' must look like" in capsys.readouterr().err
