"""Goal: pieces of work are side by side as far as none needs another, their results in order, and an error ends it.

Method: pieces that wait for events; no clock, no Spark.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from batch.pipeline.scheduler import run_parallel

LIMIT_S = 30.0


@dataclass(frozen=True)
class Piece:
    name: str
    after: frozenset[str] = field(default_factory=frozenset)


class Work:
    """What pieces do: `waits` for an event, which another piece sets at its end."""

    def __init__(self, waits: dict[str, str] | None = None) -> None:
        self.ended = {name: threading.Event() for name in "abcd"}
        self.order: list[str] = []
        self.most = 0
        self._waits = waits or {}
        self._at_work = 0
        self._lock = threading.Lock()

    def __call__(self, piece: Piece) -> str:
        with self._lock:
            self._at_work += 1
            self.most = max(self.most, self._at_work)
            self.order.append(piece.name)
        if piece.name in self._waits:
            assert self.ended[self._waits[piece.name]].wait(LIMIT_S)
        with self._lock:
            self._at_work -= 1
        self.ended[piece.name].set()
        return piece.name.upper()


def test_two_pieces_are_at_work_together_and_the_results_are_in_order() -> None:
    work = Work(waits={"a": "b"})  # which could never end alone
    pieces = [Piece(name) for name in "abcd"]
    assert [(piece.name, result) for piece, result in run_parallel(pieces, work, 2)] == [
        ("a", "A"),
        ("b", "B"),
        ("c", "C"),
        ("d", "D"),
    ]
    assert work.most == 2


def test_a_piece_comes_after_what_it_needs_and_others_go_before_it() -> None:
    work = Work(waits={"a": "c"})
    pieces = [Piece("a"), Piece("b", frozenset("a")), Piece("c"), Piece("d", frozenset({"b", "unknown"}))]
    assert [result for _, result in run_parallel(pieces, work, 2)] == ["A", "B", "C", "D"]
    assert work.order == ["a", "c", "b", "d"]


def test_the_piece_that_most_others_wait_for_in_a_row_goes_first() -> None:
    work = Work()
    pieces = [Piece("a"), Piece("b"), Piece("c", frozenset("b")), Piece("d", frozenset("c"))]
    assert [result for _, result in run_parallel(pieces, work, 1)] == ["A", "B", "C", "D"]
    assert work.order == ["b", "c", "a", "d"]


def test_pieces_that_need_each_other_keep_their_order() -> None:
    work = Work()
    pieces = [Piece("a", frozenset("b")), Piece("b", frozenset("a"))]
    assert [result for _, result in run_parallel(pieces, work, 2)] == ["A", "B"]
    assert work.order == ["a", "b"]


def test_an_error_ends_it_when_what_is_at_work_is_over() -> None:
    work = Work(waits={"b": "a"})

    def failing(piece: Piece) -> str:
        if work(piece) == "A":
            raise ValueError("a")
        return piece.name

    pieces = [Piece("a"), Piece("b"), Piece("c", frozenset("a")), Piece("d", frozenset("c"))]
    with pytest.raises(ValueError, match="a"):
        list(run_parallel(pieces, failing, 2))
    assert work.ended["b"].is_set()
    assert sorted(work.order) == ["a", "b"]
