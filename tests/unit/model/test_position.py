"""Positions order changes as the source's log does.

Method: the places of a log, written down in log order, have to compare in that order.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from streams.model.position import SNAPSHOT_ROW, binlog_file_number
from tests.support.builders import position, read_at


def test_positions_compare_by_epoch_then_file_then_place_then_row() -> None:
    in_log_order = [
        position(900),
        position(1_000, row=SNAPSHOT_ROW),
        position(1_000),
        position(1_000, row=1),
        position(1_001),
        position(4, file=4),
        position(4, file=1, epoch=1),
    ]
    assert all(earlier < later for earlier, later in pairwise(in_log_order))


def test_a_snapshot_read_comes_before_every_row_logged_at_its_place() -> None:
    assert position(999, row=10_000) < read_at(1_000) < position(1_000, row=0)


@pytest.mark.parametrize(
    ("name", "number"),
    [("mysql-bin.000001", 1), ("mariadb-bin.999999", 999_999), ("bin.1000000", 1_000_000), ("a.b.000007", 7)],
)
def test_the_file_number_is_the_number_at_the_end_of_the_name(name: str, number: int) -> None:
    assert binlog_file_number(name) == number


def test_files_compare_as_numbers_not_as_text() -> None:
    assert binlog_file_number("bin.999999") < binlog_file_number("bin.1000000")


@pytest.mark.parametrize("name", ["", ".", "mysql-bin", "mysql-bin.", "mysql-bin.00000x", "000003", "bin.-3", "bin.³"])
def test_a_file_name_without_a_number_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="does not end in a number"):
        binlog_file_number(name)


def test_a_file_number_that_no_state_could_hold_is_refused() -> None:
    assert binlog_file_number(f"bin.{2**63 - 1}") == 2**63 - 1
    with pytest.raises(ValueError, match="too large"):
        binlog_file_number(f"bin.{2**63}")


def test_a_file_name_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        binlog_file_number("bin." + "9" * 10_000)
