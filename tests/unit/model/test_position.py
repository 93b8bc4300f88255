"""Positions order changes as the source's log does.

Method: the places of a log, written down in log order, have to compare in that order.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from streams.model.position import SNAPSHOT_ROW, binlog_file_number, wal_place
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


def wal_position(sequence: str, *, is_read: bool = False) -> tuple[int, int, int, int]:
    return (0, *wal_place(sequence, is_read=is_read), SNAPSHOT_ROW if is_read else 0)


def test_the_change_of_a_transaction_that_was_open_across_a_snapshot_is_newer_than_the_row_that_was_read() -> None:
    """As seen on PostgreSQL 15: the change's LSN is lower than that of the read, which an order by LSN would prefer."""
    in_order = [
        wal_position('[null,"42433112"]', is_read=True),
        wal_position('[null,"42432832"]'),
        wal_position('[null,"42432920"]'),
        wal_position('["42433200","42433200"]'),
    ]
    assert all(earlier < later for earlier, later in pairwise(in_order))


def test_a_row_that_an_incremental_snapshot_read_precedes_every_change_after_the_same_commit() -> None:
    read = wal_position('["57597280","57664112"]', is_read=True)
    assert wal_position('["57597000","57664200"]') < read < wal_position('["57597280","57597281"]')


@pytest.mark.parametrize("sequence", [None, 5, "", "[]", '["1"]', '["1",null]', '["1","0"]', f'["{2**63}","1"]'])
def test_a_sequence_without_the_place_of_the_change_is_refused(sequence: object) -> None:
    with pytest.raises(ValueError, match=r"source\.sequence"):
        wal_place(sequence, is_read=False)
