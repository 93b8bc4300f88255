"""Select dead letters, and summarise them for `list` in memory that does not grow with the topic."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Final

from ops.dead_letters.letter import DeadLetter, RecordRef, ReplayNote
from ops.dead_letters.printing import bytes_text, moment, printable, short

MOST_REASONS: Final = 1_000
"""Number of distinct reasons counted separately; reasons quote data, so each letter may have a different one."""

OTHER_REASONS: Final = "other reasons"
SHOWN_REASONS: Final = 20
KEY_WIDTH: Final = 40
REASON_WIDTH: Final = 300
KEPT_KEY_BYTES: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Conditions that select dead letters; a condition that is None accepts every letter.

    Attributes:
        reason: text that the letter's reason must contain.
        topic: topic that the original record was read from.
        app: id of the application that wrote the letter.
        key: text that the key of the letter must contain, such as the id of an order.
        since_ms: earliest time at which the letter was written, in milliseconds since 1970.
    """

    reason: str | None = None
    topic: str | None = None
    app: str | None = None
    key: str | None = None
    since_ms: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether the letter meets all conditions."""
        topic = None if letter.origin is None else letter.origin.topic
        return (
            (self.reason is None or self.reason in letter.reason)
            and (self.topic is None or self.topic == topic)
            and (self.app is None or self.app == letter.app)
            and (self.key is None or self.key.encode() in (letter.key or b""))
            and (self.since_ms is None or letter.written_ms >= self.since_ms)
        )


@dataclass
class Row:
    """The fields of a dead letter that `list` shows, cut to a bounded size."""

    place: RecordRef
    written_ms: int
    origin: dict[str, Any] | None
    fault: str | None
    app: str
    key: str
    key_bytes: int | None
    value_bytes: int | None
    reason: str
    replayed: bool = False

    @classmethod
    def of(cls, letter: DeadLetter) -> Row:
        """Build the row for a letter."""
        origin = None if letter.origin is None else asdict(letter.origin)
        if origin is not None:
            origin["topic"] = short(origin["topic"], REASON_WIDTH)
        return cls(
            place=letter.place,
            written_ms=letter.written_ms,
            origin=origin,
            fault=letter.fault,
            app=short(letter.app, REASON_WIDTH),
            key=bytes_text(None if letter.key is None else letter.key[:KEPT_KEY_BYTES]),
            key_bytes=None if letter.key is None else len(letter.key),
            value_bytes=None if letter.value is None else len(letter.value),
            reason=short(letter.reason, REASON_WIDTH),
        )

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the row for the printed table."""
        origin = "-" if self.origin is None else "{topic}/{partition}/{offset}".format_map(self.origin)
        reason = self.reason if self.fault is None else f"origin unknown ({self.fault}) {self.reason}"
        replayed = "yes" if self.replayed else "-"
        return str(self.place), moment(self.written_ms), origin, short(self.key, KEY_WIDTH), replayed, reason

    def fields(self) -> dict[str, Any]:
        """Return the row as JSON data."""
        return {**asdict(self), "place": str(self.place)}


class Summary:
    """Counts of the selected letters by reason, and rows for the newest `limit` of them."""

    HEAD = ("WHERE", "WHEN", "ORIGIN", "KEY", "REPLAYED", "REASON")

    def __init__(self, selection: Selection, limit: int) -> None:
        self.total = 0
        self.reasons: Counter[str] = Counter()
        self._selection = selection
        self._limit = limit
        self._order: list[tuple[int, RecordRef]] = []
        self._rows: dict[RecordRef, Row] = {}

    def add(self, record: DeadLetter | ReplayNote) -> None:
        """Add the next record of the topic; a replay note always follows its letter, which is in the same partition."""
        if isinstance(record, ReplayNote):
            if record.place in self._rows:
                self._rows[record.place].replayed = True
            return
        if not self._selection.takes(record):
            return
        self.total += 1
        reason = short(record.reason, REASON_WIDTH) or "no reason given"
        is_counted_apart = reason in self.reasons or len(self.reasons) < MOST_REASONS
        self.reasons[reason if is_counted_apart else OTHER_REASONS] += 1
        self._keep(record)

    def _keep(self, letter: DeadLetter) -> None:
        entry = (letter.written_ms, letter.place)
        if len(self._order) == self._limit and (self._limit == 0 or entry < self._order[0]):
            return
        self._rows[letter.place] = Row.of(letter)
        heapq.heappush(self._order, entry)
        if len(self._order) > self._limit:
            del self._rows[heapq.heappop(self._order)[1]]

    def newest(self) -> list[Row]:
        """Return the kept rows, newest first."""
        return [self._rows[place] for _, place in sorted(self._order, reverse=True)]

    def reason_lines(self) -> list[str]:
        """Format the count of each reason, the most frequent first."""
        lines = [f"{count:8d}  {printable(reason)}" for reason, count in self.reasons.most_common(SHOWN_REASONS)]
        hidden = len(self.reasons) - len(lines)
        return [*lines, f"          … and {hidden} more reasons"] if hidden else lines

    def fields(self) -> dict[str, Any]:
        """Return the summary as JSON data."""
        return {
            "total": self.total,
            "reasons": dict(self.reasons.most_common()),
            "letters": [row.fields() for row in self.newest()],
        }
