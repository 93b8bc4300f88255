"""Step 2 of a turn (a micro-batch): fold batches or run due timers' callbacks in memory, without side effects."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from streams.model.change import Change, Malformed
from streams.model.fold import FORGOTTEN, OWNED_ELSEWHERE, STATE_ONLY, UNCHANGED, Rejected
from streams.runtime.partition.batch import Fold, OutputRecord, RecordBatch, SourceRecord, TimerCallback
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.timers import Timer, TimerChange

log = logging.getLogger(__name__)


class FoldFailedError(Rejected):
    """A fold raised an unexpected error. Unlike bad data, this is a programming error, and is counted as `failed`."""


MOST_AHEAD_MS: Final = 86_400_000
"""Longest time by which the source's clock may be ahead of Kafka's; a later time is wrong, and must not make orders
overdue."""


def is_credible(at_ms: int, record_ms: int) -> bool:
    """Whether a source time is plausible, given Kafka's timestamp of the record in milliseconds (0: unknown)."""
    return record_ms <= 0 or at_ms <= record_ms + MOST_AHEAD_MS


class Turn:
    """The data of one turn: states that were read, outcomes to be published, and dead letters.

    Attributes:
        states: every state that was read, keyed by record key; they hide the store's states.
        changed: keys whose state changed, in order; ten changes of a key cost one write.
        fired: keys whose timers have fired.
        forgotten: keys whose state is to be deleted.
        outcomes: objects to be published, in the order of the folds that returned them.
        caused_at_ms: for each outcome of a fold, Kafka's timestamp of its record, in milliseconds since 1970.
        rejected: dead letters of records that are unreadable or break a rule.
        counts: number of records by fate (`folded`, `unchanged`, `left`, `tombstones`, `malformed`, `rejected`,
            `failed`).
        newest_ms: newest source time of the changes, in milliseconds since 1970; 0 without changes.
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
        """Fold all changes. If a fold fails, fold all again; each change that fails becomes a dead letter."""
        try:
            for batch, fold in batches:
                self._fold_batch(batch, fold)
        except Exception:
            log.exception("a fold failed; folding the whole turn again, with a dead letter for each change that fails")
            self._reset()
            for batch, fold in batches:
                self._fold_batch(batch, self._guarded(fold))

    def fire(self, timers: Sequence[tuple[bytes, TimerCallback]]) -> None:
        """Run the callbacks of due timers; a key without a state gets a new one."""
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
        """Do not write the state of a key, because it is unchanged after all."""
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
        """Wrap `fold`: if it fails, restore the state it was given and reject the change."""

        def guarded(state: Any, change: Change[Any]) -> Any:
            before = self._codec.encode(state)
            try:
                return fold(state, change)
            except Rejected:
                raise
            except Exception as error:
                self.states[change.key] = self._codec.decode(before)
                raise FoldFailedError(f"the fold failed: {type(error).__name__}") from error

        return guarded

    def encoded_states(self) -> list[tuple[bytes, bytes | None]]:
        """Key and encoded state (None: deleted) of every changed key, for the changelog and the store."""
        encode, states, forgotten = self._codec.encode, self.states, self.forgotten
        return [(key, None if key in forgotten else encode(states[key])) for key in self.changed]

    def timer_changes(self) -> list[TimerChange]:
        """Changes of timers that follow from the changed states."""
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
