"""Goal: docs/reference/postgres-types.md says what becomes of every type of PostgreSQL.

Method: its tables are parsed. Every value is written into one real table, captured by one real connector, once by the
snapshot and once from the log, and landed in one lake by both feeds.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.bronze.envelope import UNREADABLE
from batch.context import RunContext
from batch.reconcile.buckets import difference, key_values
from batch.reconcile.queries import bronze_rows, source_query
from batch.reconcile.sides import LakeSide, SourceSide
from batch.silver import refine
from batch.storage.canonical import spark_text
from batch.storage.database import connected
from config.database_settings import PostgresSettings
from config.dataset import load_definition
from config.definition import Column, Definition, LogicalType, Table
from config.engines.postgres_types import REFUSED
from ops.cli import main
from ops.connector.publication import type_faults
from ops.topic_reader import TopicReader
from stack.local import Stack
from tests.support.lake.bronze_testbed import Archive, run_context

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "postgres-types.md"
LIMIT_S: Final = 60.0
NAME: Final = "all_types"
CREATE: Final = "CREATE TYPE mood AS ENUM ('glad', 'so so');\n"


@dataclass(frozen=True)
class Example:
    """A row of the page: a value in a column of its own, and what becomes of it."""

    column: str
    kind: str
    type: str
    literal: str
    snapshot: Any
    streamed: Any
    text: str
    is_whole: bool
    is_right: bool


def cells(section: str) -> list[list[str]]:
    """The cells of the only table in a section of the page, without backticks."""
    text = PAGE.read_text("utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[found.strip() for found in line.strip("|").split(" | ")] for line in lines]


def code(cell: str) -> str:
    """The text between backticks."""
    found = re.match(r"`(.*?)`", cell)
    return found[1] if found else ""


def examples() -> list[Example]:
    """All values of the page."""
    found: list[Example] = []
    for section in ("Values that arrive whole", "Values that Silver cannot hold", "Values that the connector changes"):
        for row in cells(section):
            kind, type_, literal, *kafka, text = map(code, row)
            snapshot, streamed = json.loads(kafka[0]), json.loads(kafka[-1])
            is_right = len(kafka) == 1
            is_whole = section == "Values that arrive whole"
            column = f"c{len(found) + 1}"
            found.append(Example(column, kind, type_, literal, snapshot, streamed, text, is_whole, is_right))
    return found


EXAMPLES: Final = examples()


def definition_text() -> str:
    """The definition of a dataset with a column for each value, and tables for the changes of whole rows."""
    columns = []
    for each in EXAMPLES:
        decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", each.type)
        type_ = f"decimal, precision: {decimal[1]}, scale: {decimal[2]}" if decimal else each.type
        columns.append(f"      - {{name: {each.column}, type: {type_}, nullable: true}}\n")
    return f"""\
name: {NAME}
engine: postgres
database: {NAME}
lake_prefix: {NAME}
tables:
  - name: kinds
    key: [id]
    columns:
      - {{name: id, type: integer}}
      - {{name: again, type: boolean, nullable: true}}
{"".join(columns)}
  - name: lines
    key: [order_id, product_id]
    topic_key: order_id
    columns:
      - {{name: order_id, type: integer}}
      - {{name: product_id, type: integer}}
      - {{name: document, type: string, nullable: true}}
      - {{name: note, type: string, nullable: true}}
"""


def schema_text() -> str:
    """The tables of the dataset."""
    columns = "".join(f", {each.column} {each.kind}" for each in EXAMPLES)
    lines = "order_id int, product_id int, document jsonb, note text, PRIMARY KEY (order_id, product_id)"
    tables = [f"kinds (id int PRIMARY KEY, again boolean{columns})", f"lines ({lines})"]
    return CREATE + "".join(
        f"CREATE TABLE {table};\nALTER TABLE {table.split()[0]} REPLICA IDENTITY FULL;\n" for table in tables
    )


class Captured:
    """The dataset, its connector, and the records in its topics."""

    def __init__(self, stack: Stack) -> None:
        self.login = PostgresSettings.read(stack.environment())
        self._kafka = stack.environment()["KAFKA_BOOTSTRAP"]

    def run(self, statement: str, *values: Any) -> list[Any]:
        """Run a statement as the owner."""
        with psycopg.connect(
            host=self.login.host,
            port=self.login.port,
            user=self.login.user,
            password=self.login.password,
            dbname=NAME,
            options="-c TimeZone=UTC",
        ) as connection:
            found = connection.execute(statement.encode(), values or None)
            return list(found.fetchall()) if found.description else []

    def records(self, table: str) -> list[tuple[bytes | None, bytes]]:
        """The records of a table's topic."""
        found: list[tuple[bytes | None, bytes]] = []
        with TopicReader(self._kafka, f"postgres.{NAME}.{table}", "test") as reader:
            reader.visit_to_end(lambda key, value: found.append((key, value or b"")))
        return found

    def wait(self, table: str, number: int) -> list[tuple[bytes | None, dict[str, Any]]]:
        """The keys and envelopes of a topic, once it has as many."""
        deadline = time.monotonic() + LIMIT_S
        while len(found := self.records(table)) < number:
            assert time.monotonic() < deadline, f"{table}: {len(found)} of {number} records have arrived"
            time.sleep(0.2)
        assert len(found) == number
        return [(key, json.loads(value)) for key, value in found]


@pytest.fixture(scope="module")
def captured(capture_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    """Every value, in a row of its own: as a snapshot read it, then as an update logged it."""
    folder = tmp_path_factory.mktemp("datasets")
    (folder / NAME).mkdir()
    (folder / NAME / "definition.yaml").write_text(definition_text(), "utf-8")
    (folder / NAME / "schema.sql").write_text(schema_text(), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**capture_stack.environment(), "DATASETS_DIR": str(folder), "DATASET": NAME}.items():
            patch.setenv(name, value)
        assert main(["dataset", "init", "--drop"]) == 0
        found = Captured(capture_stack)
        for number, each in enumerate(EXAMPLES, 1):
            found.run(f"INSERT INTO kinds (id, {each.column}) VALUES ({number}, {each.literal})")  # noqa: S608
        assert main(["topics", "apply"]) == 0
        assert main(["connector", "apply", "--wait-snapshot"]) == 0
        found.run("UPDATE kinds SET again = true")
        found.wait("kinds", 2 * len(EXAMPLES))
        yield found
        main(["connector", "delete"])


@pytest.fixture
def definition(captured: Captured) -> Definition:
    return load_definition(NAME)


@pytest.fixture(scope="module")
def landed(spark: SparkSession, captured: Captured, tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """The lake after the snapshot and the log."""
    folder = tmp_path_factory.mktemp("lake")
    Archive(folder, f"postgres.{NAME}.kinds").put(*(value for _, value in captured.records("kinds")))
    context = run_context(spark, folder, definition=load_definition(NAME), database=captured.login)
    bronze.land(context.definition.table("kinds"), context)
    refine.refine(context.definition.table("kinds"), context)
    return context


def test_kafka_has_what_the_page_says(captured: Captured) -> None:
    found: dict[str, dict[int, Any]] = {"r": {}, "u": {}}
    for key, value in captured.wait("kinds", 2 * len(EXAMPLES)):
        found[value["op"]][int(key or b"")] = value["after"]
    for number, each in enumerate(EXAMPLES, 1):
        assert found["r"][number][each.column] == each.snapshot, each
        assert found["u"][number][each.column] == each.streamed, each


def test_both_feeds_have_the_same_text_in_bronze_if_the_page_says_so(captured: Captured, landed: RunContext) -> None:
    rows = landed.table("bronze", "kinds").read().collect()
    by_op = {(row["_op"], int(row["id"])): row for row in rows}
    types = {column.name: column for column in landed.definition.table("kinds").columns}
    with connected(captured.login, NAME, None) as connection:
        for number, each in enumerate(EXAMPLES, 1):
            expression = connection.engine.value(types[each.column])
            text = connection.value(f"SELECT {expression} FROM kinds WHERE id = {number}")  # noqa: S608
            assert text == each.text, each
            feeds = [by_op[op, number][each.column] for op in ("r", "u")]
            assert (feeds == [text, text]) is (each.is_right or "infinity" in text), (each, feeds)


def test_silver_holds_the_value_or_quarantines_its_row(landed: RunContext) -> None:
    table = landed.definition.table("kinds")
    texts = [f"substring_index({spark_text([column])}, ':', -1) AS {column.name}" for column in table.columns]
    wholes = {row["id"]: row for row in landed.table("silver", "kinds").read().selectExpr(*texts).collect()}
    for number, each in enumerate(EXAMPLES, 1):
        row = wholes.get(str(number))
        if each.is_whole and ":" not in each.text:
            assert row is not None, each
            assert row[each.column] == each.text, each
        if not each.is_whole and each.is_right:
            assert row is None, each


def differing(context: RunContext, captured: Captured) -> set[str]:
    """The ids of the rows that differ between the source and Bronze."""
    table = context.definition.table("kinds")
    with connected(captured.login, NAME) as connection, ThreadPoolExecutor(1) as thread:
        source = SourceSide(connection, source_query(connection.engine, table), thread)
        lake = LakeSide(lambda: bronze_rows(context.table("bronze", "kinds").read(), table))
        return {key_values(key)[0] or "" for key in difference(source, lake).rows}


def test_rows_that_the_connector_lost_are_found_and_repaired(
    spark: SparkSession, captured: Captured, definition: Definition, tmp_path: Path
) -> None:
    """As it may lose rows of a COPY, if Connect is killed: the first kinds arrive neither as read nor as changed."""
    lost = {"1", "2", "3"}
    kept = [value for key, value in captured.records("kinds") if (key or b"").decode() not in lost]
    Archive(tmp_path, f"postgres.{NAME}.kinds").put(*kept)
    context = run_context(spark, tmp_path, definition=definition, database=captured.login)
    table = definition.table("kinds")
    bronze.land(table, context)
    assert lost <= differing(context, captured)
    bronze.land_rows(table, [(number,) for number in sorted(differing(context, captured))], context)
    assert differing(context, captured) == set()


def test_what_the_connector_changes_is_found_and_repaired(captured: Captured, landed: RunContext) -> None:
    table = landed.definition.table("kinds")
    changed = {str(number) for number, each in enumerate(EXAMPLES, 1) if not each.is_right}
    lasting = {
        str(number)
        for number, each in enumerate(EXAMPLES, 1)
        if not each.is_right and each.kind in ("time", "integer[]")  # the log has the others right
    }

    assert differing(landed, captured) == lasting
    bronze.land_rows(table, [(number,) for number in changed], landed)
    assert differing(landed, captured) == set()


def test_changes_of_whole_rows_do_what_the_page_says(
    spark: SparkSession, captured: Captured, definition: Definition, tmp_path: Path
) -> None:
    rows = {change: told for change, _, told in cells("Changes of whole rows")}
    captured.run("INSERT INTO lines VALUES (1, 1, NULL, 'a'), (1, 2, NULL, 'b')")
    captured.run("UPDATE lines SET product_id = 3 WHERE product_id = 2")
    big = json.dumps({"text": secrets.token_hex(1_000_000)})
    captured.run("INSERT INTO lines VALUES (2, 1, %s, 'a')", big)
    captured.run("UPDATE lines SET note = 'again' WHERE order_id = 2")
    arrived: dict[bytes | None, list[Any]] = {}
    for key, value in captured.wait("lines", 6):
        arrived.setdefault(key, []).append(value)
    assert {key: [value["op"] for value in values] for key, values in arrived.items()} == {
        b"1": ["c", "c", "d", "c"], b"2": ["c", "u"],
    }  # fmt: skip
    assert json.loads(arrived[b"2"][-1]["after"]["document"]) == json.loads(big)
    captured.run("ALTER TABLE lines REPLICA IDENTITY DEFAULT")
    captured.run("UPDATE lines SET note = 'lost' WHERE order_id = 2")
    captured.wait("lines", 7)
    table, archive = definition.table("lines"), Archive(tmp_path, f"postgres.{NAME}.lines")
    archive.put(*(value for _, value in captured.records("lines")))
    context = run_context(spark, tmp_path, definition=definition, database=captured.login)
    assert bronze.land(table, context).rejected == {UNREADABLE: 1}
    refine.refine(table, context)
    silver = context.table("silver", "lines").read().where("NOT _deleted").collect()
    assert {(row["order_id"], row["product_id"], row["note"]) for row in silver} == {
        (1, 1, "a"), (1, 3, "b"), (2, 1, "again"),
    }  # fmt: skip
    captured.run("TRUNCATE lines")
    [(key, truncation)] = [found for found in captured.wait("lines", 8) if found[1]["op"] == "t"]
    assert key is None
    archive.put(json.dumps(truncation).encode())
    context = run_context(spark, tmp_path, definition=definition, database=captured.login)
    assert bronze.land(table, context).rejected == {}
    refine.refine(table, context)
    assert context.table("silver", "lines").read().where("NOT _deleted").isEmpty()
    assert "every older row is deleted" in rows["`TRUNCATE`"]


def only(definition: Definition, table: Table) -> Definition:
    """The dataset, with this table only."""
    return msgspec.structs.replace(definition, tables=(table,))


def test_types_that_the_page_refuses_are_refused_with_its_reason(captured: Captured, definition: Definition) -> None:
    refused = [(code(kind), reason) for kind, reason in cells("Types that are refused")]
    captured.run("CREATE TABLE refused (id int PRIMARY KEY)")
    columns = [Column(name="id", type=LogicalType.INTEGER)]
    for number, (kind, _) in enumerate(refused):
        captured.run(f"ALTER TABLE refused ADD c{number} {kind}")
        columns.append(Column(name=f"c{number}", type=LogicalType.STRING))
    with connected(captured.login, NAME, None) as connection:
        found = list(
            type_faults(connection, only(definition, Table(name="refused", key=("id",), columns=tuple(columns))))
        )
    assert len(found) == len(refused)
    for line, (_, reason) in zip(found, refused, strict=True):
        assert reason in line or reason == "the type is not supported", line
        assert "leave the column out of the definition" in line, line
    assert {reason for _, reason in refused} - {"the type is not supported"} <= set(REFUSED.values())
