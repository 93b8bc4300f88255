"""Goal: a store's timers always equal those of all its states, and its counts with it.

Method: a state machine writes turns of its own and those of another owner that it only reads from the changelog,
reopens the store, changes the codec's version, breaks off a rebuilding, and reads the timers in between, since reading
keeps a mark of what it has stepped over. The scan of the states and the log are the oracle.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Struct

from streams.model.fold import FORGOTTEN, STATE_ONLY
from streams.runtime.partition.batch import OutputRecord, SourceRecord
from streams.runtime.partition.turn import Turn
from streams.runtime.state import store as store_module
from streams.runtime.state.codec import StateCodec
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import Entry, PartitionStore
from streams.runtime.state.timers import Timer


class Errand(Struct, array_like=True):
    """A state with a timer of its kind, 0 for none; the time is that of its first change."""

    kind: int = 0
    first_ms: int = 0
    text: str = ""


MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - hundreds of stores are opened
KINDS: Final = (1, 2, 254)
COUNTED: Final = (1, 254)


def entry_of(state: Errand) -> Timer | None:
    """The first version of the timers."""
    return (state.kind, state.first_ms) if state.kind else None


def other_entry_of(state: Errand) -> Timer | None:
    """A later version, for which one kind has become another."""
    return (254, state.first_ms) if state.kind == 2 else entry_of(state)


CODECS: Final = (
    StateCodec(Errand, timer_of=entry_of, timers_version=b"1", counted_kinds=COUNTED),
    StateCodec(Errand, timer_of=other_entry_of, timers_version=b"2", counted_kinds=COUNTED),
)

keys: Final = st.sampled_from([b"", b"a", b"a\0", b"b", b"\xff", b"\xff\xff"])
kinds: Final = st.sampled_from([0, *KINDS])
times: Final = st.sampled_from([0, 1, 255, 256, 1_767_323_045_000])
changes: Final = st.dictionaries(keys, st.none() | st.tuples(kinds, times), min_size=1)


def no_dead_letter(record: SourceRecord, reason: str) -> OutputRecord:
    raise AssertionError(reason)


def change(state: Errand, kind: int, at_ms: int) -> Any:
    """A callback that gives a state another kind; the time of the first one stays."""
    state.first_ms = state.first_ms if state.text else at_ms
    state.kind, state.text = kind, "known"
    return STATE_ONLY


def turn_of(read: Any, codec: StateCodec[Errand], wanted: Mapping[bytes, tuple[int, int] | None]) -> Turn:
    """A turn that changes states, or forgets them."""
    turn = Turn(read, codec, no_dead_letter)
    for key, to in wanted.items():
        turn.fire([(key, (lambda state: FORGOTTEN) if to is None else partial(change, kind=to[0], at_ms=to[1]))])
    return turn


class StoreWithTimers(RuleBasedStateMachine):
    """One store, and the changelog that it follows; its list indexes are the offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.log: list[Entry] = []
        self.states: dict[bytes, bytes] = {}  # what the log comes to
        self.codec = CODECS[0]
        self.open()

    def open(self) -> None:
        self.store = PartitionStore(self.folder / "0", StoreMemory(1024 * 1024))
        if self.store.incarnation is None:
            self.store.begin(b"one")
        self.restore_from(self.stands_at, 3)

    @property
    def stands_at(self) -> int:
        offset = self.store.changelog_offset
        return 0 if offset is None else offset + 1

    def restore_from(self, begin: int, size: int) -> None:
        for first in range(begin, len(self.log), size):
            entries = self.log[first : first + size]
            self.store.restore(entries, first + len(entries) - 1, self.codec)
        asyncio.run(self.store.complete_timers(self.codec))

    def append(self, entries: list[Entry]) -> None:
        self.log += entries
        for key, state in entries:
            self.states.pop(key, None)
            if state is not None:
                self.states[key] = state

    @rule(wanted=changes)
    def turn(self, wanted: dict[bytes, tuple[int, int] | None]) -> None:
        turn = turn_of(self.store.get, self.codec, wanted)
        self.append(turn.encoded_states())
        self.store.write(turn.encoded_states(), len(self.log) - 1, turn.timer_changes())

    @rule(turns=st.lists(changes, min_size=1, max_size=4), size=st.integers(1, 5))
    def another_owner_wrote(self, turns: list[dict[bytes, tuple[int, int] | None]], size: int) -> None:
        begin = self.stands_at
        for wanted in turns:
            self.append(turn_of(self.states.get, self.codec, wanted).encoded_states())
        self.restore_from(begin, size)

    @rule(back=st.integers(0, 10), size=st.integers(1, 5))
    def replay_what_is_contained(self, back: int, size: int) -> None:
        self.restore_from(max(0, self.stands_at - back), size)

    @rule(codec=st.sampled_from(CODECS))
    def reopen(self, codec: StateCodec[Errand]) -> None:
        self.store.close()
        self.codec = codec
        self.open()

    @rule()
    def break_off_a_rebuilding(self) -> None:
        self.store.close()
        self.store = PartitionStore(self.folder / "0", StoreMemory(1024 * 1024))
        self.codec = CODECS[0] if self.codec is CODECS[1] else CODECS[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store_module, "REBUILD_ENTRIES", 1)
            rebuilding = self.store.complete_timers(self.codec)
            try:
                rebuilding.send(None)
            except StopIteration:
                return
            rebuilding.close()
        self.store.close()
        self.open()

    @rule()
    def begin_anew(self) -> None:
        self.store.begin(b"two")
        self.restore_from(0, 4)

    @precondition(lambda self: self.states)
    @rule(kind=st.sampled_from(KINDS), after=st.tuples(times, keys), until_ms=st.none() | times)
    def read_a_part(self, kind: int, after: tuple[int, bytes], until_ms: int | None) -> None:
        expected = [entry for entry in self.scan(kind) if entry > after and (until_ms is None or entry[0] <= until_ms)]
        assert list(self.store.timers.entries(kind, after=after, until_ms=until_ms)) == expected

    @rule(kind=st.sampled_from(KINDS))
    def look_at_the_first(self, kind: int) -> None:
        assert next(self.store.timers.entries(kind), None) == next(iter(self.scan(kind)), None)

    def scan(self, kind: int) -> list[tuple[int, bytes]]:
        """Time and key of every state of a kind, oldest first, by the log alone."""
        found = {key: self.codec.timer_of(self.codec.decode(state)) for key, state in self.states.items()}
        return sorted((entry[1], key) for key, entry in found.items() if entry is not None and entry[0] == kind)

    @invariant()
    def the_store_equals_its_log(self) -> None:
        assert dict(self.store.items()) == self.states

    @invariant()
    def counts_equal_a_scan(self) -> None:
        for kind in COUNTED:
            assert self.store.timers.counts[kind] == len(self.scan(kind)), kind

    def entries_equal_a_scan(self) -> None:
        for kind in KINDS:
            assert list(self.store.timers.entries(kind)) == self.scan(kind), kind

    def teardown(self) -> None:
        self.entries_equal_a_scan()
        self.store.close()
        shutil.rmtree(self.folder)


StoreWithTimers.TestCase.settings = settings(max_examples=max(25, settings().max_examples // 8))
TestStoreWithTimers = StoreWithTimers.TestCase


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartitionStore]:
    store = PartitionStore(tmp_path / "0", StoreMemory(1024 * 1024))
    store.begin(b"one")
    yield store
    store.close()


def test_timers_of_more_states_than_one_step_reads_are_rebuilt_in_full(
    store: PartitionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "REBUILD_ENTRIES", 7)
    encode = CODECS[0].encode
    states = [(b"%03d" % number, encode(Errand(1, 1_000 - number, "known"))) for number in range(100)]
    store.restore(states, 100, CODECS[0])
    asyncio.run(store.complete_timers(CODECS[0]))
    assert [key for _, key in store.timers.entries(1)] == [key for key, _ in reversed(states)]
    assert store.timers.counts[1] == 100


def test_rebuilt_timers_tell_how_late_it_is_in_the_source_if_nothing_else_does(store: PartitionStore) -> None:
    store.restore([(b"a", CODECS[0].encode(Errand(1, 77, "known")))], 1, CODECS[0])
    asyncio.run(store.complete_timers(CODECS[0]))
    assert store.newest_ms == 77


def test_a_wiped_store_has_no_timers(store: PartitionStore) -> None:
    store.restore([(b"a", CODECS[0].encode(Errand(1, 77, "known")))], 1, CODECS[0])
    asyncio.run(store.complete_timers(CODECS[0]))
    store.begin(b"two")
    assert (list(store.timers.entries(1)), store.timers.counts[1], store.changelog_offset) == ([], 0, None)
