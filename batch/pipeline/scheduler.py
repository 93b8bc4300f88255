"""Work in threads, as far as one piece does not need another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar


class Piece(Protocol):
    """A piece of work: its name, and the names of those that have to be over before."""

    @property
    def name(self) -> str: ...

    @property
    def after(self) -> frozenset[str] | None: ...


SomePiece = TypeVar("SomePiece", bound=Piece)
Result = TypeVar("Result")


def side_by_side(
    pieces: Sequence[SomePiece], work: Callable[[SomePiece], Result], at_once: int
) -> Iterator[tuple[SomePiece, Result]]:
    """Each piece with its result, in the order of the pieces, as soon as that is known.

    A piece waits for those that it names and that stand before it. Of those that may begin, the one from which the
    longest row of others hangs goes first, so that the end does not wait for it alone. The first error ends it all:
    what is at work is waited for, nothing else begins. If the caller is interrupted, what is at work is left alone.
    """
    before = _before(pieces)
    waiting = _longest_first(pieces, before)
    running, results = dict[Future[Result], SomePiece](), dict[str, Result]()
    told = 0
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="step")
    try:
        while waiting or running:
            for piece in [each for each in waiting if before[each.name] <= results.keys()][: at_once - len(running)]:
                waiting.remove(piece)
                running[pool.submit(work, piece)] = piece
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future).name
                results[name] = _result(future, running)
            while told < len(pieces) and pieces[told].name in results:
                yield pieces[told], results[pieces[told].name]
                told += 1
    finally:
        pool.shutdown(wait=False)


def _before(pieces: Sequence[SomePiece]) -> dict[str, set[str]]:
    """What each piece waits for."""
    found = dict[str, set[str]]()
    for piece in pieces:
        found[piece.name] = found.keys() & (piece.after or set())
    return found


def _longest_first(pieces: Sequence[SomePiece], before: dict[str, set[str]]) -> list[SomePiece]:
    """The pieces by how many others wait for them one after the other; else in their order."""
    length = dict.fromkeys(before, 0)
    for name in reversed(list(before)):
        for each in before[name]:
            length[each] = max(length[each], length[name] + 1)
    return sorted(pieces, key=lambda piece: -length[piece.name])


def _result(future: Future[Result], others: Iterable[Future[Result]]) -> Result:
    if future.exception() is not None:
        wait(others)
    return future.result()
