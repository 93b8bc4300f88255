"""Goal: the files that a dataset comes with can be loaded as they are, except for the rows that are bad on purpose.

Method: read the shipped files, and hold each field against its column.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import msgspec
import pytest

from config.dataset import load_definition
from config.engines import engine_of
from ops.dataset.load import rejected_path
from ops.dataset.load_command import files_to_load
from ops.dataset.shipped import has_shipped_files, shipped_files
from ops.dataset.values import fault
from stack.errors import StackError

FIRMA = load_definition("firma")
BAD = {"klienci": (100, "id"), "pracownicy": (40, "wiek"), "projekty": (20, "data_rozpoczecia")}
"""Row and column of the value that is bad on purpose."""


@pytest.mark.parametrize("name", [table.name for table in FIRMA.tables])
def test_each_file_has_letters_quotes_an_empty_field_and_a_single_bad_row(name: str) -> None:
    path, table = shipped_files(FIRMA)[name], FIRMA.table(name)
    text, literal = path.read_text("utf-8"), engine_of(FIRMA).literal
    rows = list(csv.DictReader(text.splitlines()))
    wrong = [
        (number, column.name)
        for number, row in enumerate(rows, start=1)
        for column in table.columns
        if fault(column, row[column.name], literal) is not None
    ]
    assert wrong == [BAD[name]]
    assert any("" in row.values() for row in rows)
    assert not text.isascii()
    assert '""' in text


def test_keys_are_unique() -> None:
    for path in shipped_files(FIRMA).values():
        ids = [row["id"] for row in csv.DictReader(path.read_text("utf-8").splitlines())]
        assert len(set(ids)) == len(ids)


def test_a_table_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"klienci\.csv"):
        shipped_files(msgspec.structs.replace(FIRMA, folder=str(tmp_path)))
    assert not has_shipped_files(load_definition("shop"))


def test_rejected_rows_go_to_the_folder_that_is_asked_for() -> None:
    assert rejected_path(Path("a/b.csv")) == Path("a/b.rejected.csv")
    assert rejected_path(Path("a/b.csv"), Path("c")) == Path("c/b.rejected.csv")


@pytest.mark.parametrize(("all_files", "table"), [(True, "klienci"), (False, None)])
def test_the_command_needs_either_all_files_or_one(all_files: bool, table: str | None) -> None:
    with pytest.raises(StackError, match="--all"):
        files_to_load(argparse.Namespace(all=all_files, table=table, file=None), FIRMA)
