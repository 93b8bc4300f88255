"""What a worker has done with the newest changes of orders: folds, answers of the lock guard, and published records.

The memory is bounded, and lost when the worker ends: it is for people who look at the life of one order, and costs the
stream next to nothing. Nothing is copied but offsets; an order's events are searched for when somebody asks.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.model.change import Change
from streams.model.published import AmendedOrder, CompleteOrder
from streams.runtime.partition.batch import RecordBatch
from streams.runtime.partition.turn import Turn

MOST_CHANGES: Final = 20_000
"""Number of changes that are remembered, over all partitions of a worker: about 10 MB."""

MOST_EVENTS: Final = 10_000
MOST_SHOWN: Final = 200

_NEWS: Final = ("folded", "deleted")
"""Fates of a change after which its row is as it says."""


@dataclass(frozen=True, slots=True)
class _Folded:
    """The changes of a batch that was committed, with the offset of each, and the Unix time at which it was folded.

    `refused` are the offsets of those that became dead letters.
    """

    topic: str
    partition: int
    offsets: array[int]
    changes: Sequence[Any]
    at: float
    refused: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that happened to an order: at a Unix time, what, and the record that it led to, if any."""

    key: bytes
    at: float
    what: str
    place: tuple[str, int, int] | None = None


class OrderEvents:
    """The newest events of a worker's orders."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._since = clock()
        self._folded: deque[_Folded] = deque()
        self._number = 0
        self._events: deque[_Event] = deque()

    def answered(self, order_ids: Sequence[str], answers: Sequence[str]) -> None:
        """Note what the lock guard answered to the claims of orders."""
        at = self._clock()
        self._add(_Event(id_.encode(), at, f"guard: {what}") for id_, what in zip(order_ids, answers, strict=True))

    def folded(self, turn: Turn) -> None:
        """Note when the changes of a turn (micro-batch) were folded; they count once it is committed."""
        turn.folded_at = self._clock()

    def committed(self, turn: Turn, topics: Sequence[str], partition: int) -> None:
        """Note the changes and the published records of a turn (micro-batch) that was committed.

        Args:
            topics: the topic to which each outcome of the turn was published.
        """
        at = self._clock()
        refused = _refused(turn)
        for batch, _ in turn.batches:
            self._fold(batch, turn.folded_at or at, refused.get(batch.topic, frozenset()))
        self._add(_published(turn, topics, partition, at))

    def _fold(self, batch: RecordBatch, at: float, refused: frozenset[int]) -> None:
        offsets = array("q", [record.offset for record in batch.records])
        self._folded.append(_Folded(batch.topic, batch.partition, offsets, batch.changes, at, refused))
        self._number += len(offsets)
        while self._number > MOST_CHANGES and len(self._folded) > 1:
            oldest = self._folded.popleft()
            self._number -= len(oldest.offsets)
            self._since = oldest.at

    def _add(self, events: Iterable[_Event]) -> None:
        self._events.extend(events)
        while len(self._events) > MOST_EVENTS:
            self._since = max(self._since, self._events.popleft().at)

    def of(self, order_id: str) -> dict[str, Any]:
        """Return the events of an order, oldest first, and the Unix time since which all of them are known.

        Each has: at (Unix time), what, details, place (topic, partition, offset), and for a change its position and
        changed_at (Unix time of its commit in the source, by the database's clock).
        """
        key = order_id.encode()
        found = [*self._changes(key), *(_told(event) for event in self._events if event.key == key)]
        found.sort(key=lambda event: event["at"])
        return {"since": self._since, "list": found[-MOST_SHOWN:]}

    def _changes(self, key: bytes) -> Iterator[dict[str, Any]]:
        newest: dict[tuple[str, Any], Change[Any]] = {}
        for folded in self._folded:
            for change, offset in zip(folded.changes, folded.offsets, strict=True):
                if type(change) is not Change or change.key != key:
                    continue
                row_key = folded.topic, getattr(change.row, "product_id", None)
                former, is_refused = newest.get(row_key), offset in folded.refused
                fate = "refused, a dead letter" if is_refused else _fate(change, former)
                is_news = fate in _NEWS
                yield {
                    "at": folded.at,
                    "what": fate,
                    "details": _columns(change.row, former.row if is_news and former is not None else None),
                    "place": [folded.topic, folded.partition, offset],
                    "position": [*change.position],
                    "changed_at": change.at_ms / 1000 if change.at_ms else None,
                }
                if is_news:
                    newest[row_key] = change


def _fate(change: Change[Any], former: Change[Any] | None) -> str:
    """Return what the fold did with a change, given the newest one of its row that is remembered."""
    if former is not None and change.position < former.position:
        return "left out, as it is older"
    if former is not None and (change.position, change.deleted, change.row) == (
        former.position,
        former.deleted,
        former.row,
    ):
        return "left out, as it is a repetition"
    return "deleted" if change.deleted else "folded"


def _refused(turn: Turn) -> dict[str, frozenset[int]]:
    """Return the offsets of the records that became dead letters, keyed by topic, as the letters' headers say."""
    found: dict[str, set[int]] = {}
    for letter in turn.rejected:
        headers = dict(letter.headers)
        if (topic := headers.get("topic")) is not None and (offset := headers.get("offset")) is not None:
            found.setdefault(topic.decode(), set()).add(int(offset))
    return {topic: frozenset(offsets) for topic, offsets in found.items()}


def _published(turn: Turn, topics: Sequence[str], partition: int, at: float) -> Iterator[_Event]:
    """Yield the published records; the partition has one writer, so the records of a turn have consecutive offsets."""
    left = Counter(topics)
    for outcome, topic in zip(turn.outcomes, topics, strict=True):
        left[topic] -= 1
        last = turn.written.get(topic)
        place = None if last is None else (topic, partition, last - left[topic])
        yield _Event(outcome.order_id.encode(), at, _what(outcome), place)


def _what(outcome: object) -> str:
    if type(outcome) is AmendedOrder:
        return f"amended, revision {outcome.revision}"
    return "published" if type(outcome) is CompleteOrder else "reported as incomplete"


def _told(event: _Event) -> dict[str, Any]:
    return {"at": event.at, "what": event.what, "place": None if event.place is None else [*event.place]}


def _columns(row: Any, former: Any) -> str:
    """Return the columns that the order completion reads, as text, with the former value of each that has changed."""
    if row is None:
        return ""
    names = [name for name in row.__struct_fields__ if name not in ("id", "order_id")]
    values = [(name, getattr(former, name, getattr(row, name)), getattr(row, name)) for name in names]
    return ", ".join(f"{name} {new}" if old == new else f"{name} {old} → {new}" for name, old, new in values)
