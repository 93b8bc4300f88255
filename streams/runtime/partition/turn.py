"""The fold step of a turn (micro-batch): apply changes or timer callbacks to states in memory, without side effects."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from streams.model.change import Change, Malformed
from streams.model.fold import AFTER_RETENTION, FORGOTTEN, OWNED_ELSEWHERE, STATE_ONLY, UNCHANGED, Rejected
from streams.runtime.partition.batch import Fold, OutputRecord, RecordBatch, SourceRecord, TimerCallback
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.timers import Timer, TimerChange

log = logging.getLogger(__name__)


class FoldFailedError(Rejected):
    """A fold function raised an unexpected error: a bug rather than bad data, so it is counted as `failed`."""


MOST_AHEAD_MS: Final = 86_400_000
"""Maximum time by which a source time may be ahead of the record's Kafka timestamp. A source time further ahead is
considered wrong and is ignored, so that it cannot make timers fire too early."""


def is_credible(at_ms: int, record_ms: int) -> bool:
    """Return whether a source time is plausible, given the record's Kafka timestamp in milliseconds (0 if unknown)."""
    return record_ms <= 0 or at_ms <= record_ms + MOST_AHEAD_MS


class Turn:
    """The in-memory data of one turn (micro-batch): states, objects to publish, and dead letters.

    Attributes:
        states: all states read in this turn, keyed by record key; they take precedence over the store's states.
        changed: keys whose states changed, in order; each state is written once, however often it changed.
        fired: keys whose timers fired in this turn.
        forgotten: keys whose states are to be deleted.
        outcomes: objects to publish, in the order in which fold functions and timer callbacks returned them.
        caused_at_ms: Kafka timestamps (milliseconds since 1970) of the records that led to the outcomes of folds.
        rejected: dead letters for records that are unreadable, break a rule, or made their fold function fail.
        counts: number of records by processing result (`folded`, `unchanged`, `left`, `after_retention`, `tombstones`,
            `malformed`, `rejected`, `failed`).
        newest_ms: newest plausible source time of the changes, in milliseconds since 1970; 0 if there is none.
    """

    def __init__(
        self,
        read: Callable[[bytes], bytes | None],
        codec: StateCodec[Any],
        dead_letter: Callable[[SourceRecord, str], OutputRecord],
    ) -> None:
        self._read = read
        self._codec = codec
        self._dead_letter = dead_letter
        self._reset()

    def _reset(self) -> None:
        self.states: dict[bytes, Any] = {}
        self.changed: dict[bytes, None] = {}
        self.fired: set[bytes] = set()
        self.forgotten: set[bytes] = set()
        self.outcomes: list[Any] = []
        self.caused_at_ms: list[int] = []
        self.rejected: list[OutputRecord] = []
        self.counts: Counter[str] = Counter()
        self.newest_ms = 0
        self._timers_before: dict[bytes, Timer | None] = {}

    def fold(self, batches: Sequence[tuple[RecordBatch, Fold]]) -> None:
        """Apply the fold functions to all changes of the batches.

        If a fold function fails, all changes are folded again, and each change that fails becomes a dead letter.
        """
        try:
            for batch, fold in batches:
                self._fold_batch(batch, fold)
        except Exception:
            log.exception(
                "a fold function failed; processing the micro-batch again, with a dead letter for each failing change"
            )
            self._reset()
            for batch, fold in batches:
                self._fold_batch(batch, self._guarded(fold))

    def fire(self, timers: Sequence[tuple[bytes, TimerCallback]]) -> None:
        """Run the callbacks of due timers; if a key has no state, its callback receives a new state."""
        for key, callback in timers:
            self.fired.add(key)
            outcome = callback(self._state_of(key))
            if outcome is UNCHANGED:
                continue
            self.changed[key] = None
            if outcome is FORGOTTEN:
                self.forgotten.add(key)
            elif outcome is not STATE_ONLY:
                self.outcomes.append(outcome)

    def leave(self, key: bytes) -> None:
        """Exclude the state of a key from being written, because the state is unchanged after all."""
        del self.changed[key]

    def _fold_batch(self, batch: RecordBatch, fold: Fold) -> None:
        state_of, changed, outcomes = self._state_of, self.changed, self.outcomes
        records, newest_ms = batch.records, self.newest_ms
        folded = unchanged = 0
        for index, change in enumerate(batch.changes):
            if type(change) is not Change:
                self._pass_over(change, records[index])
                continue
            key = change.key
            if change.at_ms > newest_ms and is_credible(change.at_ms, records[index].timestamp):
                newest_ms = change.at_ms
            try:
                outcome = fold(state_of(key), change)
            except Rejected as rejection:
                fate = "failed" if isinstance(rejection, FoldFailedError) else "rejected"
                self._reject(fate, records[index], str(rejection))
                continue
            if outcome is UNCHANGED:
                unchanged += 1
                continue
            if outcome is AFTER_RETENTION:
                self.counts["after_retention"] += 1
                continue
            folded += 1
            changed[key] = None
            if outcome is OWNED_ELSEWHERE:
                self.counts["left"] += 1
            elif outcome is not STATE_ONLY:
                outcomes.append(outcome)
                self.caused_at_ms.append(records[index].timestamp)
        self.newest_ms = newest_ms
        self.counts["folded"] += folded
        self.counts["unchanged"] += unchanged

    def _state_of(self, key: bytes) -> Any:
        state = self.states.get(key)
        if state is None:
            stored = self._read(key)
            if stored is None:
                state = self._codec.new()
            else:
                state = self._codec.decode(stored)
                self._timers_before[key] = self._codec.timer_of(state)
            self.states[key] = state
        return state

    def _pass_over(self, change: Any, record: SourceRecord) -> None:
        if type(change) is Malformed:
            self._reject("malformed", record, change.reason)
        else:
            self.counts["tombstones"] += 1

    def _reject(self, fate: str, record: SourceRecord, reason: str) -> None:
        self.counts[fate] += 1
        self.rejected.append(self._dead_letter(record, reason))

    def _guarded(self, fold: Fold) -> Fold:
        """Wrap `fold` so that an unexpected error restores the previous state and rejects the change."""

        def guarded(state: Any, change: Change[Any]) -> Any:
            before = self._codec.encode(state)
            try:
                return fold(state, change)
            except Rejected:
                raise
            except Exception as error:
                self.states[change.key] = self._codec.decode(before)
                raise FoldFailedError(f"the fold function raised {type(error).__name__}") from error

        return guarded

    def encoded_states(self) -> list[tuple[bytes, bytes | None]]:
        """Return each changed key with its encoded state (None if deleted), for the changelog and the store."""
        encode, states, forgotten = self._codec.encode, self.states, self.forgotten
        return [(key, None if key in forgotten else encode(states[key])) for key in self.changed]

    def timer_changes(self) -> list[TimerChange]:
        """Return the timer changes that result from the changed states."""
        entry_of, states, forgotten, before = (
            self._codec.timer_of,
            self.states,
            self.forgotten,
            self._timers_before,
        )
        moves = []
        for key in self.changed:
            old = before.get(key)
            new = None if key in forgotten else entry_of(states[key])
            if old != new:
                moves.append((key, old, new))
        return moves
