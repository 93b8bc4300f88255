"""The fold step of a turn (micro-batch): apply changes or timer callbacks to states in memory, without side effects."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from streams.model.change import Change, Malformed
from streams.model.fold import AFTER_RETENTION, FORGOTTEN, OWNED_ELSEWHERE, STATE_ONLY, UNCHANGED, Rejected
from streams.model.source_time import is_credible
from streams.runtime.partition.batch import Fold, OutputRecord, RecordBatch, SourceRecord, TimerCallback
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.timers import Timer, TimerChange

log = logging.getLogger(__name__)

SLICE_S: Final = 0.01
"""Time for which folding holds the event loop before the worker's other partitions get a chance to go on."""

TRACEPARENT: Final = "traceparent"
"""Header with the trace that a record belongs to (W3C Trace Context); it is copied to the outputs."""

MOST_TRACE_BYTES: Final = 128
"""Maximum size of a copied trace header; one of today's version has 55 bytes."""


class FoldFailedError(Rejected):
    """A fold function raised an unexpected error: a bug rather than bad data, so it is counted as `failed`."""


class StateUnreadableError(Rejected):
    """The stored state of a key cannot be decoded; changes of the key are counted as `failed`."""


class Turn:
    """The in-memory data of one turn (micro-batch): states, objects to publish, and dead letters.

    Args:
        read: returns the encoded state of a key, or None.
        codec: decodes and encodes states.
        dead_letter: builds the dead letter of a record, given the reason.
        fault_of: returns the reason why a key without a state must not get one, or None.

    Attributes:
        states: all states read in this turn, keyed by record key; they take precedence over the store's states.
        changed: keys whose states changed, in order; each state is written once, however often it changed.
        fired: keys whose timers fired in this turn.
        forgotten: keys whose states are to be deleted.
        outcomes: objects to publish, in the order in which fold functions and timer callbacks returned them.
        caused_at_ms: Kafka timestamps (milliseconds since 1970) of the records that led to the outcomes of folds.
        rejected: dead letters for records that are unreadable, break a rule, or made their fold function fail.
        reasons: the reason of each dead letter.
        counts: number of records by processing result (`folded`, `unchanged`, `left`, `after_retention`, `tombstones`,
            `malformed`, `rejected`, `failed`), and the changes whose source time was not plausible (`times_corrected`).
        traces: header `traceparent` of the newest record that led to an outcome of a key, if it has one.
        behind: of the newest change, the milliseconds from its commit in the source to its Kafka timestamp, and that
            timestamp; None if there is no change.
        batches: the batches whose changes were folded.
        folded_at: Unix time at which that was done, if the processor notes it; otherwise 0.
        written: last offset written to each output topic, once the turn is committed.
        newest_ms: newest plausible source time of the changes, in milliseconds since 1970; 0 if there is none.
    """

    def __init__(
        self,
        read: Callable[[bytes], bytes | None],
        codec: StateCodec[Any],
        dead_letter: Callable[[SourceRecord, str], OutputRecord],
        fault_of: Callable[[bytes], str | None] = lambda key: None,
    ) -> None:
        self._read = read
        self._codec = codec
        self._dead_letter = dead_letter
        self._fault_of = fault_of
        self._reset()

    def _reset(self) -> None:
        self.states: dict[bytes, Any] = {}
        self.changed: dict[bytes, None] = {}
        self.fired: set[bytes] = set()
        self.forgotten: set[bytes] = set()
        self.outcomes: list[Any] = []
        self.caused_at_ms: list[int] = []
        self.traces: dict[bytes, bytes] = {}
        self.rejected: list[OutputRecord] = []
        self.reasons: list[str] = []
        self.counts: Counter[str] = Counter()
        self.batches: Sequence[tuple[RecordBatch, Fold]] = ()
        self.folded_at = 0.0
        self.written: Mapping[str, int] = {}
        self.newest_ms = 0
        self.behind: tuple[int, int] | None = None
        self._timers_before: dict[bytes, Timer | None] = {}

    def fold(self, batches: Sequence[tuple[RecordBatch, Fold]]) -> None:
        """Apply the fold functions to all changes of the batches; see `folding`."""
        for _ in self.folding(batches):
            pass

    def folding(self, batches: Sequence[tuple[RecordBatch, Fold]]) -> Iterator[None]:
        """Apply the fold functions to all changes of the batches; yield after each batch, so that the caller may pause.

        If a fold function fails, all changes are folded again, and each change that fails becomes a dead letter.
        """
        try:
            for batch, fold in batches:
                self._fold_batch(batch, fold)
                yield
        except Exception:
            log.exception(
                "a fold function failed; processing the micro-batch again, with a dead letter for each failing change"
            )
            self._reset()
            for batch, fold in batches:
                self._fold_batch(batch, self._guarded(fold))
                yield
        self.batches = batches

    def fire(self, timers: Sequence[tuple[bytes, TimerCallback]]) -> None:
        """Run the callbacks of due timers; if a key has no state, its callback receives a new state."""
        for key, callback in timers:
            self.fired.add(key)
            try:
                state = self._state_of(key)
            except Rejected:
                continue  # logged already; the timer of an unreadable state cannot be deleted without its state
            outcome = callback(state)
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
            if change.at_ms > newest_ms:
                newest_ms = self._believed(change, records[index].timestamp, newest_ms)
            try:
                outcome = fold(state_of(key), change)
            except Rejected as rejection:
                self._refuse(records[index], rejection)
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
                if headers := records[index].headers:
                    self._keep_trace(key, headers)
        self.newest_ms = newest_ms
        self._note_behind(batch)
        self.counts["folded"] += folded
        self.counts["unchanged"] += unchanged

    def _note_behind(self, batch: RecordBatch) -> None:
        """Note how long the last change of a batch took to Kafka; its time is 0 if the source does not say it."""
        if batch.records and type(change := batch.changes[-1]) is Change and change.at_ms > 0:
            written_ms = batch.records[-1].timestamp
            self.behind = max(0, written_ms - change.at_ms), written_ms

    def _keep_trace(self, key: bytes, headers: Sequence[tuple[str, bytes | None]]) -> None:
        for name, value in headers:
            if name == TRACEPARENT and value is not None and len(value) <= MOST_TRACE_BYTES:
                self.traces[key] = value

    def _believed(self, change: Change[Any], record_ms: int, newest_ms: int) -> int:
        """Return the newest source time; replace a change's time that is not plausible by its Kafka timestamp."""
        if is_credible(change.at_ms, record_ms):
            return change.at_ms
        change.at_ms = max(0, record_ms)
        self.counts["times_corrected"] += 1
        return newest_ms

    def _state_of(self, key: bytes) -> Any:
        state = self.states.get(key)
        if state is None:
            stored = self._read(key)
            if stored is None:
                fault = self._fault_of(key)
                if fault is not None:
                    raise Rejected(fault)
                state = self._codec.new()
            else:
                state = self._decoded(key, stored)
                self._timers_before[key] = self._codec.timer_of(state)
            self.states[key] = state
        return state

    def _decoded(self, key: bytes, stored: bytes) -> Any:
        try:
            return self._codec.decode(stored)
        except msgspec.DecodeError as error:
            raise StateUnreadableError(f"the stored state of the key cannot be decoded: {error}") from error

    def _pass_over(self, change: Any, record: SourceRecord) -> None:
        if type(change) is Malformed:
            self._reject("malformed", record, change.reason)
        else:
            self.counts["tombstones"] += 1

    def _refuse(self, record: SourceRecord, rejection: Rejected) -> None:
        """Reject a change whose fold raised an error."""
        if isinstance(rejection, StateUnreadableError):
            log.error(
                "%s: key %r in partition %d; its change is a dead letter", rejection, record.key, record.partition
            )
        is_bug = isinstance(rejection, FoldFailedError | StateUnreadableError)
        self._reject("failed" if is_bug else "rejected", record, str(rejection))

    def _reject(self, fate: str, record: SourceRecord, reason: str) -> None:
        self.counts[fate] += 1
        self.rejected.append(self._dead_letter(record, reason))
        self.reasons.append(reason)

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


async def fold_in_slices(turn: Turn, batches: Sequence[tuple[RecordBatch, Fold]]) -> None:
    """Fold all batches, and let other asyncio tasks run after each `SLICE_S` seconds."""
    began = time.perf_counter()
    for _ in turn.folding(batches):
        if time.perf_counter() - began > SLICE_S:
            await asyncio.sleep(0)
            began = time.perf_counter()
