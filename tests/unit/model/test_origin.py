"""Goal: a change of another server, or of a log that began again, is told from everything that is legitimate.

Method: changes of one topic, one after the other, as a partition would check them.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from streams.model.change import Change
from streams.model.origin import Origin, contradiction, followed, parse_origin
from streams.model.position import SWEPT_ROW
from tests.support.builders import order_change, position

NOW = 1_767_000_000_000


def change(file: int, *, server: int = 1, epoch: int = 0, at: int = 0, row: int = 0) -> Change[Any]:
    """Build a change whose time is `at` milliseconds after `NOW`."""
    made: Change[Any] = order_change(position(100, file=file, epoch=epoch, row=row), at_ms=NOW + at)
    return replace(made, server_id=server)


def after(*changes: Change[Any]) -> Origin:
    """Return the origin after changes of one log."""
    known: Origin | None = None
    for each in changes:
        assert known is None or contradiction(known, each, each.at_ms) is None, each
        known = followed(known, each, each.at_ms)
    assert known is not None
    return known


def fault(known: Origin, each: Change[Any], *servers: int) -> str | None:
    return contradiction(known, each, each.at_ms, servers)


def test_a_change_of_another_server_is_not_of_the_known_log() -> None:
    known = after(change(812))
    for file in (3, 812, 900):
        assert "come from server 1, not 2" in str(fault(known, change(file, server=2, at=5)))


def test_the_log_of_the_same_server_that_began_again_is_not_the_known_log() -> None:
    known = after(change(812), change(813, at=10))
    assert "have reached file 813" in str(fault(known, change(1, at=11)))
    assert "have reached file 813" in str(fault(known, change(1, server=0, at=11, row=-1)))  # its snapshot


@pytest.mark.parametrize("at", [-5_000, 0, 10])
def test_a_change_that_the_connector_repeats_from_an_older_file_is(at: int) -> None:
    assert fault(after(change(812), change(813, at=10), change(813, at=20)), change(812, at=at)) is None


def test_a_transaction_that_began_before_the_file_and_ended_in_it_makes_no_repetition_suspicious() -> None:
    known = after(change(812, at=100), change(813, at=-60_000))
    assert fault(known, change(812, at=100)) is None


def test_a_snapshot_names_no_server_and_the_log_after_it_does() -> None:
    known = after(change(5, server=0, row=-1), change(5, server=7, at=1), change(6, server=0, at=2, row=-1))
    assert known.server_id == 7
    assert fault(known, change(7, server=8, at=3)) is not None


def test_a_change_of_an_earlier_epoch_is_older_and_changes_nothing() -> None:
    known = after(change(812), change(3, server=2, epoch=1, at=5))
    late = change(813, at=50)
    assert fault(known, late) is None
    assert followed(known, late, late.at_ms) == known
    assert (known.epoch, known.file, known.server_id) == (1, 3, 2)


def test_a_deletion_that_a_sweep_appends_has_an_old_place_and_a_new_time() -> None:
    assert fault(after(change(812), change(813, at=10)), change(812, at=99, row=SWEPT_ROW)) is None


def test_a_single_record_with_an_invented_file_and_an_old_time_makes_no_later_change_suspicious() -> None:
    known = after(change(812), change(9_999, at=-86_400_000), change(812, at=5), change(813, at=10))
    assert known.file == 813
    assert fault(known, change(1, at=11)) is not None


def test_an_unknown_time_is_no_evidence() -> None:
    assert contradiction(after(change(813)), change(1), 0) is None


def test_one_log_may_contain_the_changes_of_the_servers_that_a_setting_names() -> None:
    known = after(change(812))
    assert fault(known, change(812, server=2, at=5), 1, 2) is None
    assert "is not one of SOURCE_SERVERS" in str(fault(known, change(812, server=3, at=5), 1, 2))
    assert fault(known, change(3, server=2, at=5), 1, 2) is not None


def test_an_origin_is_read_back_from_its_text() -> None:
    for known in (after(change(813)), Origin(0, 0), Origin(4, 7, server_id=2**32 - 1)):
        assert parse_origin(known.text()) == known
    for text in ("", "{}", "[]", "written by something else"):
        assert parse_origin(text) is None
