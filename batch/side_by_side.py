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

    A piece waits for those that it names and that stand before it. The first error ends it all: what is at work is
    waited for, nothing else begins. If the caller is interrupted, what is at work is left alone.
    """
    waiting, running, results = list(pieces), dict[Future[Result], SomePiece](), dict[str, Result]()
    places = {piece.name: place for place, piece in enumerate(pieces)}
    told = 0

    def is_ready(piece: SomePiece) -> bool:
        before = (name for name in piece.after or () if places.get(name, len(places)) < places[piece.name])
        return all(name in results for name in before)

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="step")
    try:
        while waiting or running:
            for piece in [each for each in waiting if is_ready(each)][: at_once - len(running)]:
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


def _result(future: Future[Result], others: Iterable[Future[Result]]) -> Result:
    if future.exception() is not None:
        wait(others)
    return future.result()
