"""Goal: no bad row of a CSV file is lost, altered or loaded; each is named by its line and reason.

Method: write a file, load it over a fake connection, read the statements that would have gone to the database.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.dataset import load_definition
from config.definition import Column, LogicalType
from config.engines import engine_of
from config.engines.base import Connection
from ops.dataset.bulk import OnDuplicate
from ops.dataset.load import Outcome, load_file, rejected_path
from ops.dataset.values import column_parser, fault
from stack.errors import StackError

from .fakes import FakeConnection

DEFINITION = load_definition("project_db")
ENGINE = engine_of(DEFINITION)
CUSTOMERS = "id,name,email,phone,tier,created_at,updated_at\n"
GOOD = "1,Ada,ada@example.com,,gold,2025-01-01 10:00:00,2025-01-01 10:00:00\n"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "rows.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def load(path: Path, table: str = "customers", **options: Any) -> tuple[Outcome, FakeConnection]:
    connection = options.pop("connection", None) or FakeConnection()
    return load_file(Connection(ENGINE, connection), DEFINITION.table(table), path, **options), connection


def values(connection: FakeConnection) -> str:
    return "".join(statement.partition(" VALUES ")[2] for statement in connection.statements)


def rejected(path: Path) -> list[list[str]]:
    with rejected_path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_good_rows_become_one_statement(file: Any) -> None:
    path = file("id,name,bank\n1,Card,Bank\n2,Cash,Till\n")
    outcome, connection = load(path, "payment_method")
    assert connection.statements == [
        "INSERT INTO `payment_method` (`id`,`name`,`bank`) VALUES (1,'Card','Bank'),(2,'Cash','Till')"
    ]
    assert (outcome.read, outcome.loaded, outcome.rejected) == (2, 2, 0)
    assert connection.commits == 1
    assert not rejected_path(path).exists()


def test_columns_may_stand_in_any_order(file: Any) -> None:
    _, connection = load(file("bank,id,name\nBank,1,Card\n"), "payment_method")
    assert connection.statements == ["INSERT INTO `payment_method` (`bank`,`id`,`name`) VALUES ('Bank',1,'Card')"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfid,name,bank\n1,Card,Bank\n",
        b"id,name,bank\r\n1,Card,Bank\r\n",
        b"id,name,bank\r1,Card,Bank\r",
        b"id,name,bank\n1,Card,Bank",
        b'"id","name","bank"\n"1","Card","Bank"\n',
        b"id,name,bank\n\n1,Card,Bank\n\n",
        b" id , name , bank \n1,Card,Bank\n",
    ],
)
def test_files_of_every_origin_are_read_the_same(file: Any, content: bytes) -> None:
    outcome, connection = load(file(content), "payment_method")
    assert values(connection) == "(1,'Card','Bank')"
    assert (outcome.read, outcome.rejected) == (1, 0)


def test_quoted_delimiters_newlines_and_quotes_stay_data(file: Any) -> None:
    _, connection = load(file('id,name,bank\n1,"a,b","c\nd ""e"" \'f\' \\g"\n'), "payment_method")
    assert values(connection) == "(1,'a,b','c\\nd \"e\" \\'f\\' \\\\g')"


def test_hostile_text_stays_data(file: Any) -> None:
    _, connection = load(file("id,name,bank\n1,x'); DROP TABLE orders; --,\\'\n"), "payment_method")
    assert values(connection) == "(1,'x\\'); DROP TABLE orders; --','\\\\\\'')"


def test_text_outside_ascii_is_kept(file: Any) -> None:
    _, connection = load(file("id,name,bank\n1,Łódź,銀行😀\n"), "payment_method")
    assert values(connection) == "(1,'Łódź','銀行😀')"


def test_another_delimiter_can_be_given(file: Any) -> None:
    _, connection = load(file("id;name;bank\n1;a,b;c\n"), "payment_method", delimiter=";")
    assert values(connection) == "(1,'a,b','c')"


@pytest.mark.parametrize("null", ["", "\\N"])
def test_empty_fields_and_backslash_n_are_null(file: Any, null: str) -> None:
    _, connection = load(file(CUSTOMERS + GOOD.replace(",,", f",{null},")))
    assert ",NULL," in values(connection)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,Ada", "has 2 fields, expected 7"),
        (GOOD.strip() + ",more", "has 8 fields, expected 7"),
        (GOOD.replace("1,Ada", "one,Ada"), "id is not a whole number: 'one'"),
        (GOOD.replace("1,Ada", "1.5,Ada"), "id is not a whole number: '1.5'"),
        (GOOD.replace("1,Ada", "1_0,Ada"), "id is not a whole number: '1_0'"),
        (GOOD.replace("1,Ada", "١,Ada"), "id is not a whole number"),
        (GOOD.replace("1,Ada", "2147483648,Ada"), "id is out of range"),
        (GOOD.replace("1,Ada", ",Ada"), "id is NULL, which the column does not allow"),
        (GOOD.replace("1,Ada", "1,"), "name is NULL, which the column does not allow"),
        (GOOD.replace("1,Ada", "1,\\N"), "name is NULL, which the column does not allow"),
        (GOOD.replace("Ada", "A" * 101), "name is too long: 101 characters, at most 100"),
        (GOOD.replace("2025-01-01", "2025-02-30", 1), "created_at is not a time"),
        (GOOD.replace("2025-01-01", "0000-00-00", 1), "created_at is not a time"),
        (GOOD.replace("2025-01-01", "01.01.2025", 1), "created_at is not a time"),
        ('1,"Ada"x,a,b,c,d,e', "is not valid CSV"),
    ],
)
def test_a_bad_row_is_named_by_line_and_reason_and_its_neighbours_are_loaded(file: Any, row: str, reason: str) -> None:
    path = file(f"{CUSTOMERS}{GOOD}{row.rstrip()}\n{GOOD.replace('1,Ada', '3,Eve')}")
    outcome, connection = load(path)
    assert (outcome.read, outcome.loaded, outcome.rejected) == (3, 2, 1)
    assert outcome.examples[0].line == 3
    assert outcome.examples[0].reason.startswith(reason)
    assert "'Ada'" in values(connection)
    assert "'Eve'" in values(connection)
    header, line = rejected(path)
    assert header == ["line", "reason", *CUSTOMERS.strip().split(",")]
    assert line[:2] == ["3", outcome.examples[0].reason]


def test_all_faults_of_a_row_are_named(file: Any) -> None:
    outcome, _ = load(file(f"{CUSTOMERS}x,,{GOOD.partition(',Ada,')[2]}"))
    assert outcome.examples[0].reason.startswith("id is not a whole number: 'x'; name is NULL")


def test_a_row_after_a_quoted_newline_has_the_line_of_the_file(file: Any) -> None:
    outcome, _ = load(file('id,name,bank\n1,"a\nb\nc",Bank\nx,Card,Bank\n'), "payment_method")
    assert [row.line for row in outcome.examples] == [5]


def test_a_row_of_several_lines_is_named_by_its_first(file: Any) -> None:
    outcome, _ = load(file('id,name,bank\nx,"a\nb",Bank\n'), "payment_method")
    assert [row.line for row in outcome.examples] == [2]


def test_a_quote_that_never_ends_is_reported_where_it_begins(file: Any) -> None:
    outcome, _ = load(file('id,name,bank\n1,Card,Bank\n2,"Card,Bank\n3,Card,Bank\n'), "payment_method")
    assert (outcome.loaded, [row.line for row in outcome.examples]) == (1, [3])


def test_the_rejected_row_is_kept_as_it_was(file: Any) -> None:
    path = file('id,name,bank\nx,"a,b","c\nd"\n')
    load(path, "payment_method")
    assert rejected(path)[1][2:] == ["x", "a,b", "c\nd"]


def test_a_rejected_file_of_an_earlier_run_is_removed(file: Any) -> None:
    path = file("id,name,bank\n1,Card,Bank\n")
    rejected_path(path).write_text("old")
    load(path, "payment_method")
    assert not rejected_path(path).exists()


def test_only_the_first_rejections_are_kept_in_memory(file: Any) -> None:
    outcome, _ = load(file("id,name,bank\n" + "x,Card,Bank\n" * 1_000), "payment_method")
    assert (outcome.rejected, len(outcome.examples)) == (1_000, 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: has no header; expected id,name,bank"),
        ("\n1,Card,Bank\n", "line 1: has no header"),
        ("id,name\n1,Card\n", "line 1: missing column 'bank'"),
        ("id,name,bank,colour\n1,a,b,c\n", "line 1: unknown column 'colour'"),
        ("id,name,bank,bank\n1,a,b,c\n", "line 1: repeated column 'bank'"),
        ("1,Card,Bank\n", "line 1: unknown column '1', 'Card', 'Bank'; missing column 'id', 'name', 'bank'"),
        (b"id,name,bank\n1,Caf\xe9,Bank\n", "line 2: is not UTF-8"),
        (b"id,name,bank\n1,Card,Bank\n2,Card,\xe2\x82", "line 3: is not UTF-8"),
        ("id,name,bank\n".encode("utf-16"), "line 1: is not UTF-8"),
    ],
)
def test_a_file_that_can_not_fit_is_refused_before_anything_is_loaded(
    file: Any, content: str | bytes, message: str
) -> None:
    path, connection = file(content), FakeConnection()
    with pytest.raises(StackError) as caught:
        load(path, "payment_method", connection=connection)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert connection.statements == []


def test_a_header_alone_loads_nothing_and_is_no_error(file: Any) -> None:
    outcome, connection = load(file("id,name,bank\n"), "payment_method")
    assert (outcome.read, outcome.loaded, outcome.rejected, connection.statements) == (0, 0, 0, [])


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"absent\.csv: No such file"):
        load(tmp_path / "absent.csv")
    with pytest.raises(StackError, match="Is a directory"):
        load(tmp_path)


def test_what_the_database_refuses_is_found_and_reported(file: Any) -> None:
    rows = "".join(f"{number},Card,Bank\n" for number in range(1, 101))
    connection = FakeConnection(refuses=lambda statement: "(42," in statement or "(77," in statement)
    outcome, _ = load(file(f"id,name,bank\n{rows}"), "payment_method", connection=connection)
    assert (outcome.loaded, outcome.rejected) == (98, 2)
    assert sorted(row.line for row in outcome.examples) == [43, 78]


def test_a_key_that_is_twice_in_the_file_is_a_duplicate(file: Any) -> None:
    connection = FakeConnection(refuses=lambda statement: statement.count("(1,") > 1)
    outcome, _ = load(file("id,name,bank\n1,a,b\n1,c,d\n2,e,f\n"), "payment_method", connection=connection)
    assert (outcome.loaded, outcome.rejected) == (2, 1)
    assert (outcome.examples[0].line, outcome.examples[0].reason) == (3, "duplicate key 1")


def test_duplicates_can_be_skipped(file: Any) -> None:
    path = file("id,name,bank\n1,a,b\n1,c,d\n")
    connection = FakeConnection(refuses=lambda statement: statement.count("(1,") > 1)
    outcome, _ = load(path, "payment_method", connection=connection, on_duplicate=OnDuplicate.SKIP)
    assert (outcome.loaded, outcome.skipped, outcome.rejected) == (1, 1, 0)


def test_duplicates_can_replace_without_deleting_the_row(file: Any) -> None:
    path = file("id,name,bank\n1,a,b\n")
    _, connection = load(path, "payment_method", on_duplicate=OnDuplicate.REPLACE)
    assert connection.statements[0].endswith("ON DUPLICATE KEY UPDATE `name`=VALUES(`name`),`bank`=VALUES(`bank`)")


def column(kind: LogicalType, **options: Any) -> Column:
    return Column(name="value", type=kind, **options)


@pytest.mark.parametrize(
    ("kind", "options", "text", "literal"),
    [
        (LogicalType.TIMESTAMP, {}, "2025-01-01T10:00:00Z", "'2025-01-01 10:00:00.000000'"),
        (LogicalType.TIMESTAMP, {}, "2025-01-01 10:00:00+02:00", "'2025-01-01 08:00:00.000000'"),
        (LogicalType.TIMESTAMP, {}, "2025-01-01", "'2025-01-01'"),
        (LogicalType.DATE, {}, "2024-02-29", "'2024-02-29'"),
        (LogicalType.DECIMAL, {"precision": 5, "scale": 2}, "-123.40", "-123.40"),
        (LogicalType.DECIMAL, {"precision": 5, "scale": 2}, "000123.4500", "123.4500"),
        (LogicalType.BIGINT, {}, "-9223372036854775808", "-9223372036854775808"),
        (LogicalType.BOOLEAN, {}, "TRUE", "TRUE"),
        (LogicalType.DOUBLE, {}, "1e3", "1000.0"),
        (LogicalType.UUID, {}, "3D83F663-fb70-40bb-a9fa-7b63f3c32f6a", "'3D83F663-fb70-40bb-a9fa-7b63f3c32f6a'"),
    ],
)
def test_values_of_every_type_become_literals(kind: LogicalType, options: Any, text: str, literal: str) -> None:
    assert column_parser(column(kind, **options), ENGINE.literal)(text) == literal


@pytest.mark.parametrize(
    ("kind", "options", "text", "reason"),
    [
        (LogicalType.TIMESTAMP, {}, "2025-01-01 10:00:00.1234567", "is not a time"),
        (LogicalType.TIMESTAMP, {}, "2025-01-01 24:00:00", "is not a time"),
        (LogicalType.TIMESTAMP, {}, "0001-01-01 00:00:00+05:00", "is not a time"),
        (LogicalType.DATE, {}, "2025-02-29", "is not a date"),
        (LogicalType.DATE, {}, "20250228", "is not a date"),
        (LogicalType.DECIMAL, {"precision": 5, "scale": 2}, "1234.5", "does not fit decimal(5,2)"),
        (LogicalType.DECIMAL, {"precision": 5, "scale": 2}, "1.234", "does not fit decimal(5,2)"),
        (LogicalType.DECIMAL, {"precision": 5, "scale": 2}, "1e2", "is not a decimal number"),
        (LogicalType.BIGINT, {}, "9223372036854775808", "is out of range"),
        (LogicalType.BOOLEAN, {}, "yes", "is neither true nor false"),
        (LogicalType.DOUBLE, {}, "nan", "is not a finite number"),
        (LogicalType.UUID, {}, "3d83f663fb7040bba9fa7b63f3c32f6a", "is not a UUID"),
    ],
)
def test_values_that_do_not_fit_have_a_reason(kind: LogicalType, options: Any, text: str, reason: str) -> None:
    assert (fault(column(kind, **options), text, ENGINE.literal) or "").startswith(f"value {reason}")
