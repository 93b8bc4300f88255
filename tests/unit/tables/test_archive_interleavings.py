"""Goal: whatever happens to owners and to answers, the archive has every record once, and no object overlaps another.

Method: Hypothesis lets several owners of one partition read, put, sleep, be killed and come back, in any order, over a
bucket that loses answers, fails, and stores puts late. The oracle is Kafka's list. Two mutants show that it would
notice: a bucket without the condition, in one pinned schedule, and an owner that puts what it has
after a refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streams.model.errors import SinkAwayError
from tables.archive.committer import ArchiveCommitter
from tests.unit.tables.archive_testbed import Group, Kafka, MemoryBucket, Owner

OWNERS = st.integers(0, 1)
FATES = st.sampled_from(["", "", "", "lost", "failed", "late", "away"])


class Archive(RuleBasedStateMachine):
    """Two workers, any of which may think that the partition is its own."""

    new_bucket: type[MemoryBucket] = MemoryBucket

    @initialize()
    def begin(self) -> None:
        self.bucket, self.group, self.kafka = self.new_bucket(), Group(), Kafka()
        self.owners = [Owner(self.bucket, self.group, flush_bytes=400) for _ in range(2)]
        self.opened: set[int] = set()
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            try:
                self.finish()
            finally:
                self.loop.close()

    def finish(self) -> None:
        """In the end one owner goes on alone."""
        self.bucket.land()
        self.bucket.fates, self.bucket.is_away = [], False
        last = Owner(self.bucket, self.group)
        self.run(last.open())
        self.run(last.read(self.kafka))
        self.run(last.committer.check())
        self.check_archive()
        assert [row["offset"] for row in self.bucket.rows()] == [record.offset for record in self.kafka.records]
        if self.kafka.records:
            assert last.committer.waiting()["records"] == 0

    def run(self, step: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(step)

    def attempt(self, number: int, step: Coroutine[Any, Any, Any]) -> None:
        """A step of an owner, which has to open again when it fails."""
        try:
            self.run(step)
        except SinkAwayError:
            self.opened.discard(number)
            self.run(self.owners[number].committer.close())

    @rule(count=st.integers(1, 4), gap=st.integers(0, 2))
    def produce(self, count: int, gap: int) -> None:
        self.kafka.produce(count, gap=gap)

    @rule(number=OWNERS, count=st.integers(0, 5), puts=st.booleans(), fate=FATES)
    def turn(self, number: int, count: int, puts: bool, fate: str) -> None:
        """An owner opens, if it has not, reads, and may put."""
        self.bucket.fates = [fate] if fate else []
        self.bucket.is_away = fate == "away"
        owner = self.owners[number]
        if number not in self.opened:
            self.opened.add(number)
            self.attempt(number, owner.open())
        if number in self.opened:
            self.attempt(number, owner.read(self.kafka, count))
        if number in self.opened and puts:
            self.attempt(number, owner.committer.check())

    @rule(number=OWNERS, fate=FATES)
    def close(self, number: int, fate: str) -> None:
        self.bucket.fates = [fate] if fate else []
        if number in self.opened:
            self.run(self.owners[number].committer.close())
            self.opened.discard(number)

    @rule(number=OWNERS)
    def kill(self, number: int) -> None:
        self.owners[number] = Owner(self.bucket, self.group, flush_bytes=400)
        self.opened.discard(number)

    @rule()
    def land(self) -> None:
        self.bucket.land()

    @rule(refuses=st.booleans())
    def rebalance(self, refuses: bool) -> None:
        self.group.refuses = refuses

    @precondition(lambda self: not self.opened)
    @rule(offset=st.one_of(st.none(), st.integers(0, 30)))
    def tell_nonsense(self, offset: int | None) -> None:
        self.group.offset = offset

    @invariant()
    def check_archive(self) -> None:
        """All objects are on one chain, and their records are Kafka's."""
        if not hasattr(self, "loop"):
            return
        pieces = self.bucket.pieces()
        assert [piece.start for piece in pieces] == [0, *(piece.last + 1 for piece in pieces)][: len(pieces)]
        rows = [(row["offset"], row["key"]) for row in self.bucket.rows()]
        assert rows == [(record.offset, record.key) for record in self.kafka.records[: len(rows)]]


TestArchive = Archive.TestCase


class WithoutCondition(MemoryBucket):
    """Puts over what is there."""

    has_condition = False


class Unconditional(Archive):
    """The archive on it."""

    new_bucket = WithoutCondition


class Stubborn(ArchiveCommitter):
    """Goes to the chain's end after a refusal, and puts there what it has, the records that are there already too."""

    def _advance(self, last: int) -> None:
        self._newest, self._start = self._start, last + 1


def late_put_over_another_owners_object(machine: type[Archive]) -> None:
    """A put of offset 0 is stored only after another owner's objects 0-1 and 2-3."""
    archive = machine()
    archive.begin()
    with contextlib.closing(archive.loop):
        archive.produce(count=4, gap=0)
        archive.turn(number=0, count=1, puts=True, fate="late")
        archive.turn(number=1, count=2, puts=True, fate="")
        archive.turn(number=1, count=2, puts=True, fate="")
        archive.check_archive()
        archive.land()
        archive.check_archive()


def test_a_bucket_that_ignores_the_condition_is_noticed() -> None:
    late_put_over_another_owners_object(Archive)
    with pytest.raises(AssertionError):
        late_put_over_another_owners_object(Unconditional)


def test_an_owner_that_ignores_what_is_there_already_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArchiveCommitter, "_advance", Stubborn._advance)
    quick = settings(max_examples=1_000, phases=[Phase.generate], database=None, print_blob=False, derandomize=True)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Archive, settings=quick)
