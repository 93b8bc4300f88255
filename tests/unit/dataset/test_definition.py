"""Goal: a wrong definition is refused with the file and the place in it, before anything is built on it.

Method: take a small valid definition, break one thing, read the message.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from config.contradictions import faults
from config.dataset import DefinitionError, definition_or_exit, known_datasets, load_definition, load_definition_file
from config.definition import LogicalType, OrdersGenerator, Range, Reference
from config.settings import environment_with

VALID: dict[str, Any] = {
    "name": "mine",
    "engine": "mysql",
    "database": "mine",
    "lake_prefix": "mine",
    "tables": [
        {
            "name": "baskets",
            "key": ["id"],
            "topic_key": "id",
            "cursor": "changed",
            "columns": [
                {"name": "id", "type": "uuid"},
                {"name": "size", "type": "integer"},
                {"name": "changed", "type": "timestamp"},
            ],
            "rules": [{"check": "range", "column": "size", "min": 1, "action": "quarantine"}],
        },
        {
            "name": "items",
            "key": ["basket_id", "item"],
            "topic_key": "basket_id",
            "columns": [
                {"name": "basket_id", "type": "uuid"},
                {"name": "item", "type": "string", "length": 40},
                {"name": "price", "type": "decimal", "precision": 10, "scale": 2, "nullable": True},
            ],
            "rules": [
                {"check": "reference", "column": "basket_id", "table": "baskets", "action": "warn"},
                {"check": "unique", "columns": ["basket_id", "item"], "action": "fail"},
            ],
        },
    ],
}


def _complete(document: dict[str, Any], **changed: str) -> dict[str, Any]:
    document["completeness"] = {"expected": "baskets.size", "children": "items"} | changed
    return document


def written(folder: Path, text: str) -> Path:
    path = folder / "definition.yaml"
    path.write_text(text, "utf-8")
    return path


def broken(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """The message for the valid definition after `change`."""
    document = yaml.safe_load(yaml.safe_dump(VALID))
    change(document)
    path = written(folder, yaml.safe_dump(document))
    with pytest.raises(DefinitionError) as caught:
        load_definition_file(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_the_shipped_dataset_is_the_shop_with_complete_orders() -> None:
    definition = load_definition("project_db")
    assert [table.name for table in definition.tables] == ["payment_method", "orders", "order_details", "customers"]
    assert definition.completeness is not None
    assert (definition.completeness.parent, definition.completeness.expected_column) == ("orders", "num_products")
    assert definition.completeness.children == "order_details"
    assert definition.lake_prefix == ""
    assert isinstance(definition.generator, OrdersGenerator)
    assert (definition.generator.orders, definition.generator.order_details) == (25_000, 47_089)
    assert (definition.generator.customers, definition.generator.payment_methods) == (1_000_000, 12)


def test_orders_and_their_lines_share_the_order_id_as_topic_key() -> None:
    definition = load_definition("project_db")
    assert definition.table("orders").topic_key == "id"
    assert definition.table("order_details").topic_key == "order_id"


def test_a_valid_definition_is_read_with_all_its_parts(tmp_path: Path) -> None:
    definition = load_definition_file(written(tmp_path, yaml.safe_dump(VALID)))
    baskets, items = definition.tables
    assert definition.folder == str(tmp_path)
    assert baskets.rules == (Range(column="size", min=1.0, action="quarantine"),)
    assert items.rules[0] == Reference(column="basket_id", table="baskets", action="warn")
    assert items.columns[2].type is LogicalType.DECIMAL
    assert (baskets.cursor, items.cursor) == ("changed", None)


def test_a_table_that_is_not_there_is_an_error_that_lists_those_that_are(tmp_path: Path) -> None:
    definition = load_definition_file(written(tmp_path, yaml.safe_dump(VALID)))
    with pytest.raises(KeyError, match=r"no table 'nothing' \(it has: baskets, items\)"):
        definition.table("nothing")


def _key_of_times(table: dict[str, Any]) -> dict[str, Any]:
    [column] = [column for column in table["columns"] if column["name"] == table["key"][0]]
    column.update(type="timestamp")
    return table


def _table(document: dict[str, Any], index: int = 0) -> Any:
    return document["tables"][index]


def _limit(document: dict[str, Any], **wrong: str) -> None:
    """Add a rule about the price of an item and the size of its basket, with a mistake."""
    rule = {"check": "at_most", "column": "price", "by": "basket_id", "table": "baskets", "of": "size"}
    _table(document, 1)["rules"][1:] = [rule | {"action": "warn"} | wrong]


def _forward(document: dict[str, Any], **wrong: Any) -> None:
    """Add a rule about the status of a basket, with a mistake."""
    _table(document)["columns"].append({"name": "status", "type": "string"})
    rule = {"check": "forward", "column": "status", "values": ["a", "b"], "action": "warn"}
    _table(document)["rules"].append(rule | wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: _table(d, 1).update(key="item"), "tables[1].key: Expected array, got str"),
        (lambda d: _table(d, 1).pop("key"), "tables[1]: Object missing required field key"),
        (lambda d: d.update(colour="red"), "Object contains unknown field colour"),
        (lambda d: d.update(folder="/"), "Object contains unknown field folder"),
        (lambda d: _table(d).update(keys=["id"]), "tables[0]: Object contains unknown field keys"),
        (
            lambda d: _table(d)["columns"][1].update(type="number"),
            "tables[0].columns[1].type: Invalid enum value 'number'",
        ),
        (lambda d: _table(d).update(history=3), "tables[0].history: Invalid enum value 3"),
        (lambda d: _table(d)["rules"][0].update(check="rang"), "tables[0].rules[0].check: Invalid value 'rang'"),
        (lambda d: _table(d)["rules"][0].update(action="no"), "tables[0].rules[0].action: Invalid enum value 'no'"),
        (lambda d: d.update(tables=[]), "tables: Expected array of length >= 1"),
        (lambda d: d.update(name="My Set"), "name: Expected str matching regex '^[a-z][a-z0-9_]*"),
        (lambda d: d.update(name="mine\n"), "name: Expected str matching regex"),
        (lambda d: d.update(lake_prefix="mine\n"), "lake_prefix: Expected str matching regex"),
        (lambda d: _complete(d, expected="baskets.size\n"), "completeness.expected: Expected str matching"),
        (lambda d: _table(d)["columns"][1].update(name="size\n"), "tables[0].columns[1].name: Expected str matching"),
        (lambda d: _table(d).update(name="a`b"), "tables[0].name: Expected str matching regex"),
        (lambda d: d.update(engine="oracle"), "engine: unknown engine 'oracle' (known: mysql, postgres)"),
        (lambda d: _table(d).update(key=["ident"], topic_key=None), "tables[0].key[0]: column 'ident' does not exist"),
        (lambda d: _table(d).update(cursor="when"), "tables[0].cursor: column 'when' does not exist"),
        (lambda d: _table(d).update(topic_key="size"), "tables[0].topic_key: 'size' is not a part of the key (id)"),
        (lambda d: _table(d, 1).update(name="baskets"), "tables: table 'baskets' is defined twice"),
        (
            lambda d: _table(d)["columns"].append({"name": "id", "type": "uuid"}),
            "tables[0].columns: column 'id' is defined twice",
        ),
        (
            lambda d: _table(d)["columns"].extend({"name": f"c{n}", "type": "string"} for n in range(5_000)),
            "tables[0].columns: 5,003 columns are more than the 1,600 that a table may have: leave some out",
        ),
        (
            lambda d: _table(d)["columns"][0].update(nullable=True),
            "tables[0].columns[0].nullable: a key column can't be null",
        ),
        (lambda d: _table(d)["columns"][1].update(length=3), "tables[0].columns[1].length: applies only to strings"),
        (lambda d: _table(d, 1)["columns"][2].pop("scale"), "tables[1].columns[2].precision: a decimal needs"),
        (
            lambda d: _table(d)["rules"][0].update(column="nix"),
            "tables[0].rules[0].column: column 'nix' does not exist",
        ),
        (lambda d: _table(d)["rules"][0].pop("min"), "tables[0].rules[0].min: a range needs min, max or both"),
        (
            lambda d: _table(d)["rules"][0].update(min=datetime.date(2000, 1, 1)),
            "tables[0].rules[0].min: must be a number: 'size' is of type integer",
        ),
        (
            lambda d: _table(d)["rules"][0].update(column="changed"),
            "tables[0].rules[0].min: must be a day such as 2000-01-31: 'changed' is of type timestamp",
        ),
        (
            lambda d: _table(d)["rules"][0].update(
                column="changed", min=datetime.date(2001, 1, 1), max=datetime.date(2000, 1, 1)
            ),
            "tables[0].rules[0].min: 2001-01-01 is above max 2000-01-01",
        ),
        (lambda d: _table(d)["rules"][0].update(max=0), "tables[0].rules[0].min: 1 is above max 0"),
        (
            lambda d: _table(d)["rules"].append({"check": "range", "column": "size", "max": 9, "action": "warn"}),
            "tables[0].rules[1].check: rules[0] is a 'range' of size already: make one rule of the two",
        ),
        (
            lambda d: _table(d)["rules"].append({"check": "not_null", "column": _table(d)["key"][0], "action": "warn"}),
            "tables[0].rules[1].action: must be quarantine or fail, not warn: Silver has no row with NULL in its key",
        ),
        (lambda d: _table(d, 1)["rules"][0].update(table="x"), "tables[1].rules[0].table: table 'x' does not exist"),
        (lambda d: _limit(d, of="sise"), "tables[1].rules[1].of: table 'baskets' has no column 'sise'"),
        (lambda d: _limit(d, by="basket"), "tables[1].rules[1].by: column 'basket' does not exist"),
        (lambda d: _limit(d, table="x"), "tables[1].rules[1].table: table 'x' does not exist"),
        (
            lambda d: _limit(d, of="changed"),
            "tables[1].rules[1].of: both columns must be numbers, not decimal and timestamp",
        ),
        (
            lambda d: _limit(d, action="quarantine"),
            "tables[1].rules[1].action: must be warn, not quarantine: either of the two rows may be the wrong one",
        ),
        (lambda d: _forward(d, values=["a", "b", "a"]), "tables[0].rules[1].values: 'a' is named twice"),
        (lambda d: _forward(d, column="size"), "tables[0].rules[1].column: must be of type string, not integer"),
        (
            lambda d: _forward(d, action="fail"),
            "tables[0].rules[1].action: must be warn, not fail: either of the two versions may be the wrong one",
        ),
        (
            lambda d: _complete(d, expected="boxes.size"),
            "completeness.expected: table 'boxes' does not exist",
        ),
        (
            lambda d: _complete(d, expected="baskets.count"),
            "completeness.expected: table 'baskets' has no column 'count'",
        ),
        (
            lambda d: _complete(d, expected="baskets.changed"),
            "completeness.expected: column 'changed' must hold whole numbers",
        ),
        (lambda d: _complete(d, children="things"), "completeness.children: table 'things' does not exist"),
        (lambda d: _complete(d, expected="size"), "completeness.expected: Expected str matching regex"),
        (
            lambda d: _table(_complete(d), 1).pop("topic_key"),
            "completeness.children: table 'items' needs a topic_key",
        ),
        (_complete, "completeness: the streams complete the orders of a MySQL or MariaDB database with the tables"),
        (lambda d: d.update(schema="public"), "schema: engine mysql has no schemas in a database"),
        (
            lambda d: d["tables"][0]["columns"][1].update(type="time"),
            "tables[0].columns[1].type: time is read from PostgreSQL only: leave the column out",
        ),
        (lambda d: d.update(topics="a b"), "topics: Expected str matching regex"),
        (
            lambda d: d.update(topics="a." * 70 + "bc", engine="postgres") or _table(d, 0).update(name="b" * 64),
            "tables",
        ),
        (
            lambda d: _table(d)["columns"][1].update(zero_is_null=True),
            "tables[0].columns[1].zero_is_null: applies only to dates and timestamps of MySQL and MariaDB",
        ),
        (
            lambda d: _table(d)["columns"][2].update(zero_is_null=True, nullable=True),
            "tables[0].columns[2].zero_is_null: applies only to the feed jdbc",
        ),
        (lambda d: d.update(lake_prefix="audit"), "lake_prefix: 'audit' is reserved"),
        (
            lambda d: [table.update(snapshot="incremental") for table in d["tables"]],
            "tables: at least one table must be read by the initial snapshot (snapshot: initial)",
        ),
        (
            lambda d: _key_of_times(_table(d, 1)).update(snapshot="incremental"),
            "can be written in several ways, so nobody could tell which rows were read",
        ),
        (lambda d: d.update(generator={"kind": "orders"}), "generator: Object missing required field"),
    ],
)
def test_a_broken_definition_names_the_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    assert message in broken(tmp_path, change)


@pytest.mark.parametrize("name", ["orders", "order_details", "payment_method"])
def test_no_order_waits_for_a_table_that_is_read_incrementally(name: str) -> None:
    shipped = load_definition("project_db")
    assert [table.name for table in shipped.incremental_tables] == ["customers"]
    tables = [
        msgspec.structs.replace(table, snapshot="incremental") if table.name == name else table
        for table in shipped.tables
    ]
    [fault] = faults(msgspec.structs.replace(shipped, tables=tuple(tables)))
    assert fault.endswith(f"snapshot: orders cannot be completed without {name}, so it must be initial")


def test_every_contradiction_is_named_at_once(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["engine"] = "oracle"
        _table(document)["cursor"] = "when"

    assert len(broken(tmp_path, change).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: mine\ntables: [\n", "line 3"),
        ("name: mine\n\tengine: x\n", "line 2"),
        ("name: mine\nname: yours\n", "line 2, column 1: key 'name' is given twice"),
        ("", "Expected a mapping, got an empty file"),
        ("- one\n", "Expected a mapping, got list"),
        ("day: 2025-13-45\n", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_yaml_mapping_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DefinitionError) as caught:
        load_definition_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_file_that_is_missing_or_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"absent\.yaml: can't be read: No such file"):
        load_definition_file(tmp_path / "absent.yaml")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: café\n".encode("latin-1"))
    with pytest.raises(DefinitionError, match=r"latin\.yaml: is not UTF-8"):
        load_definition_file(latin)


@pytest.mark.parametrize("name", ["nothing", "../project_db", "", "Project_DB"])
def test_an_unknown_dataset_lists_the_known_ones(name: str) -> None:
    with pytest.raises(DefinitionError, match=r"unknown dataset .* \(known: .*project_db"):
        load_definition(name)


def test_datasets_can_be_kept_in_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    written(tmp_path / "mine", yaml.safe_dump(VALID))
    monkeypatch.setenv("DATASETS_DIR", str(tmp_path))
    assert known_datasets() == ["mine"]
    assert load_definition("mine").database == "mine"


def test_a_definition_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "yours").mkdir()
    written(tmp_path / "yours", yaml.safe_dump(VALID))
    monkeypatch.setenv("DATASETS_DIR", str(tmp_path))
    with pytest.raises(DefinitionError, match="name: must be the folder's name 'yours', not 'mine'"):
        load_definition("yours")


def test_the_topics_are_named_by_engine_and_dataset_unless_the_definition_gives_a_prefix(tmp_path: Path) -> None:
    own = load_definition_file(written(tmp_path, yaml.safe_dump(VALID)))
    other = load_definition_file(written(tmp_path, yaml.safe_dump(VALID | {"topics": "dbserver1.public"})))
    assert (own.topic_prefix, other.topic_prefix) == ("mysql.mine", "dbserver1.public")


def test_two_datasets_with_one_topic_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASETS_DIR", str(tmp_path))
    for name, table in (("one", "items"), ("two", "items"), ("three", "baskets")):
        (tmp_path / name).mkdir()
        tables = [{**each, "rules": []} for each in VALID["tables"] if each["name"] == table]
        dataset = VALID | {"name": name, "topics": "dbserver1.public", "tables": tables}
        written(tmp_path / name, yaml.safe_dump(dataset))
    assert load_definition("three").name == "three"
    with pytest.raises(DefinitionError, match=r"dataset 'two' has the topic dbserver1\.public\.items too"):
        load_definition("one")


def test_a_worker_of_an_unknown_dataset_says_so_in_one_line_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        definition_or_exit("nowhere")
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "'nowhere'" in line


@pytest.mark.parametrize("application", ["streams.orders", "streams.lookups"])
def test_a_worker_for_complete_orders_refuses_a_dataset_without_them(application: str) -> None:
    told = environment_with({"KAFKA_BOOTSTRAP": "x:1", "REDIS_URL": "redis://x", "DATASET": "shop"})
    result = subprocess.run([sys.executable, "-c", f"import {application}"], env=told, capture_output=True, text=True)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert "`completeness`" in line
    assert "streams.archive" in line
