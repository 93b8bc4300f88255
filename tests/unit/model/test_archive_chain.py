"""Goal: the objects of a chain are told by their names, and a reader reads each record of it once.

Method: chains drawn by Hypothesis, also such in which objects that were deleted have been archived anew.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.model.archive_chain import ChainBrokenError, Piece, before_object, object_name, start_of, walk

TOPIC = "shop.orders"
Lengths = st.lists(st.integers(1, 9), max_size=12)


def chain(lengths: list[int], begin: int = 0) -> list[Piece]:
    """Objects that hold so many offsets each."""
    pieces: list[Piece] = []
    for length in lengths:
        start = pieces[-1].last + 1 if pieces else begin
        pieces.append(Piece(start, start + length - 1))
    return pieces


def read(pieces: list[Piece], position: int = 0) -> list[int]:
    """Every offset that a reader keeps."""
    last_of = dict(pieces)
    kept: list[int] = []
    for piece in walk(last_of, last_of.__getitem__, position=position):
        kept += range(max(position, piece.start), piece.last + 1)
        position = piece.last + 1
    return kept


def test_a_name_tells_topic_partition_and_start() -> None:
    assert object_name(TOPIC, 3, 42) == "changes/shop.orders/00003/00000000000000000042.parquet"


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_names_sort_as_starts_do(one: int, other: int) -> None:
    first, second = object_name(TOPIC, 0, one), object_name(TOPIC, 0, other)
    assert (first < second) == (one < other)
    assert (before_object(TOPIC, 0, one) < second) == (one <= other)
    assert start_of(first) == one


@pytest.mark.parametrize("name", ["", "x", "_delta_log/00000000000000000000.json", "7.parquet", f"{'²' * 20}.parquet"])
def test_what_is_no_object_has_no_start(name: str) -> None:
    assert start_of(name) is None


@given(Lengths, st.data())
def test_a_reader_gets_everything_from_where_it_stands(lengths: list[int], data: st.DataObject) -> None:
    pieces = chain(lengths)
    end = sum(lengths)
    position = data.draw(st.integers(0, end))
    assert read(pieces, position) == list(range(position, end))


@given(Lengths)
def test_at_the_end_there_is_nothing_and_nothing_is_asked_beyond_the_last_object(lengths: list[int]) -> None:
    pieces = chain(lengths)
    asked: list[int] = []
    last_of = dict(pieces)

    def ask(start: int) -> int:
        asked.append(start)
        return last_of[start]

    assert list(walk(last_of, ask)) == pieces
    assert asked == [piece.start for piece in pieces]
    assert list(walk(last_of, ask, position=sum(lengths))) == []


@given(Lengths, st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_objects_that_were_archived_anew_may_overlap_and_each_record_is_still_read_once(
    lengths: list[int], anew: list[int], data: st.DataObject
) -> None:
    old = chain([*lengths, 5, 5])
    lost = data.draw(st.integers(0, len(old) - 1))
    refilled = [piece for piece in chain(anew, old[lost].start) if piece.start not in dict(old[lost + 1 :])]
    there = [*old[:lost], *refilled[:1], *old[lost + 1 :]]
    if refilled[0].last >= old[lost].last:
        assert read(there) == list(range(max(piece.last for piece in there) + 1))


def test_a_missing_object_is_an_error_that_names_the_offset() -> None:
    pieces = [piece for piece in chain([3, 3, 3]) if piece.start != 3]
    with pytest.raises(ChainBrokenError, match="no object contains offset 3, but a later object starts at 6"):
        read(pieces)
    with pytest.raises(ChainBrokenError, match="offset 0"):
        read(pieces[1:])
