"""Goal: an export of a source has each selected row once, typed as in Silver, and conditions mean what they mean there.

Method: a table of difficult keys and values on a real MariaDB and PostgreSQL, read in parts of two rows.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batch.__main__ import main
from batch.console.conditions import filter_of, parsed_condition
from batch.errors import BatchError
from batch.pipeline.source_export import key_ranges, parts_of, source_schema
from batch.storage.database import connected
from config.database_settings import DatabaseSettings, PostgresSettings
from config.dataset import load_definition
from config.definition import Column, LogicalType, Table
from config.engines.base import Connection
from ops.database import connected as as_owner
from ops.dataset.schema import create_schema
from stack.local import Stack

NAME = "project_db"  # in MariaDB, the owner has rights on the databases of known datasets only
THINGS = Table(
    name="things",
    key=("code", "n"),
    columns=(
        Column(name="code", type=LogicalType.STRING),
        Column(name="n", type=LogicalType.INTEGER),
        Column(name="price", type=LogicalType.DECIMAL, precision=10, scale=2, nullable=True),
        Column(name="is_on", type=LogicalType.BOOLEAN, nullable=True),
        Column(name="at", type=LogicalType.TIMESTAMP, nullable=True),
        Column(name="on_day", type=LogicalType.DATE, nullable=True),
        Column(name="x", type=LogicalType.DOUBLE, nullable=True),
    ),
)
CREATED = """\
CREATE TABLE things (code varchar(20) NOT NULL, n int NOT NULL, price decimal(10, 2), is_on boolean,
at timestamp(6) NULL, on_day date, x double precision, PRIMARY KEY (code, n));
INSERT INTO things VALUES ('a', 1, 1.50, true, '2025-01-31 12:00:00.000001', '2025-01-31', 0.1);
INSERT INTO things VALUES ('a', 2, -0.01, false, NULL, NULL, NULL);
INSERT INTO things VALUES ('B', 3, NULL, NULL, '2025-02-01 00:00:00', '1582-10-10', 1e22);
INSERT INTO things VALUES ('o''B\\rien', 4, 2, true, NULL, NULL, -0.5);
INSERT INTO things VALUES ('zß😀', 5, 99999999.99, true, NULL, '9999-12-31', 3);
"""


@pytest.fixture(params=["mysql", "postgres"])
def source(request: pytest.FixtureRequest, lake_stack: Stack, postgres_stack: Stack) -> Iterator[Connection]:
    """A connection to the database with the table, anew for each test."""
    environment = {**lake_stack.environment(), **postgres_stack.environment()}
    login: Any = (DatabaseSettings if request.param == "mysql" else PostgresSettings).read(environment)
    statements = CREATED if request.param == "postgres" else CREATED.replace("\\", "\\\\")
    with as_owner(login) as owner:
        owner.engine.create_database(owner, NAME, drop=True)
    with as_owner(login, NAME) as owner:
        owner.engine.run_script(owner, statements)
        owner.commit()
    with (
        connected(login, NAME, autocommit=False) as connection,
        connection.engine.consistent_snapshot(connection),
    ):
        yield connection


def exported(source: Connection, where: str = "", columns: list[str] | None = None) -> list[dict[str, Any]]:
    comparisons = parsed_condition(where) if where else []
    parts = parts_of(source, THINGS, key_ranges(source, THINGS, part_rows=2), comparisons)
    condition = filter_of(comparisons, source_schema(THINGS))
    rows = [part.to_table(columns or list(THINGS.column_names), filter=condition) for part in parts]
    assert len(rows) == 3
    return list(pa.concat_tables(rows).to_pylist())


def numbers(source: Connection, where: str) -> list[int]:
    return sorted(row["n"] for row in exported(source, where, ["n"]))


def test_every_row_is_there_once_with_its_values(source: Connection) -> None:
    found = sorted(exported(source), key=lambda row: row["n"])
    assert [row["code"] for row in found] == ["a", "a", "B", "o'B\\rien", "zß😀"]
    at = datetime.datetime(2025, 1, 31, 12, 0, 0, 1, tzinfo=datetime.UTC)
    assert found[0] == {
        "code": "a",
        "n": 1,
        "price": Decimal("1.50"),
        "is_on": True,
        "x": 0.1,
        "at": at,
        "on_day": at.date(),
    }
    assert [row["price"] for row in found[1:]] == [Decimal("-0.01"), None, Decimal("2.00"), Decimal("99999999.99")]
    assert (found[2]["on_day"], found[2]["x"], found[4]["on_day"]) == (
        datetime.date(1582, 10, 10),
        1e22,
        datetime.date(9999, 12, 31),
    )


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("n >= 2 AND n < 5 AND price IS NOT NULL", [2, 4]),
        ("code = 'o''B\\rien'", [4]),
        ("code = 'b'", []),  # in MariaDB, the table's collation would find 'B'
        ("code > 'b'", [4, 5]),
        ("price = -0.01", [2]),
        ("is_on = true AND n < 5", [1, 4]),
        ("at >= '2025-01-31T12:00:00Z'", [1, 3]),
        ("on_day < '2000-01-01'", [3]),
        ("x = 0.1", [1]),
    ],
)
def test_a_condition_means_what_it_means_in_the_lake(source: Connection, where: str, found: list[int]) -> None:
    assert numbers(source, where) == found


def test_a_value_that_its_type_cannot_hold_is_named(source: Connection) -> None:
    price = Column(name="price", type=LogicalType.DECIMAL, precision=4, scale=2, nullable=True)
    narrow = Table(name="things", key=("n",), columns=(THINGS.columns[1], price))
    part = parts_of(source, narrow, [], [])[0]
    with pytest.raises(
        BatchError, match=r"column price of the row with key \{'n': '5'\} has a value that is no decimal"
    ):
        part.to_table(["n"])


def test_the_command_copies_a_table_of_the_source_and_goes_on_with_the_same_ranges(
    lake_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = lake_stack.environment()
    for name, value in {**environment, "LOG_DIR": str(tmp_path / "logs")}.items():
        monkeypatch.setenv(name, value)
    with as_owner(DatabaseSettings.read(environment)) as owner:
        create_schema(owner, load_definition("project_db"), drop=True)
    with as_owner(DatabaseSettings.read(environment), "project_db") as owner:
        owner.engine.run_script(owner, "INSERT INTO payment_method VALUES (1, 'card', 'A'), (2, 'cash', 'B')")
        owner.commit()
    out = tmp_path / "out"
    asked = ["export", "payment_method", "--layer", "source", "--where", "id > 1", "--format", "json", "--to", str(out)]
    assert main(asked) == 0
    assert "1 rows in 1 files" in capsys.readouterr().out
    assert json.loads((out / "part-00000.json").read_text()) == {"id": 2, "name": "cash", "bank": "B"}
    assert main(asked) == 0
    assert "going on after 1 of 1 parts" in capsys.readouterr().out
    assert main([*asked[:-1], str(tmp_path / "new"), "--columns", "nothing"]) == 1
    assert "there is no column 'nothing'" in capsys.readouterr().err
