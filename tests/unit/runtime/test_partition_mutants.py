"""Goal: the checks of `test_partition.py` would notice if a safeguard of the runtime were missing.

Method: each mutant lacks one safeguard and is run through a commit whose outcome is lost; the same comparison with the
expected output has to fail for the mutant, while it passes for the real code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.model.change import Change
from streams.model.fold import STATE_ONLY
from streams.runtime.partition import lifecycle as partition_module
from streams.runtime.partition.batch import Fold, OutputRecord
from streams.runtime.partition.queue import BatchQueue
from streams.runtime.partition.task import PartitionTask
from streams.runtime.partition.turn import Turn
from tests.support.fakes import MemoryCommitter, Tally, add
from tests.unit.runtime.partition_testbed import PartitionTestbed
from tests.unit.runtime.test_partition import EXPECTED

ROWS = [4, 6, 5, 3, 2, 7, 3]

Install = Callable[[pytest.MonkeyPatch, PartitionTestbed], None]


def store_before_commit(patch: pytest.MonkeyPatch, testbed: PartitionTestbed) -> None:
    """Local state is written first, as stock Faust does."""

    class Mutant(PartitionTask):
        async def _commit(self, turn: Turn, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> int | None:
            assert self._store is not None
            self._store.write(turn.encoded_states(), self._store.changelog_offset or 0)
            return await super()._commit(turn, outputs, offsets)

    patch.setattr(partition_module, "PartitionTask", Mutant)


def offsets_outside_the_transaction(patch: pytest.MonkeyPatch, testbed: PartitionTestbed) -> None:
    """Progress is kept on its own, before the outputs."""

    async def commit(
        self: MemoryCommitter, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]
    ) -> Mapping[str, int]:
        testbed.log.append([], offsets)
        return await real(self, outputs, {})

    real = MemoryCommitter.commit
    patch.setattr(MemoryCommitter, "commit", commit)


def no_new_task_after_an_unknown_outcome(patch: pytest.MonkeyPatch, testbed: PartitionTestbed) -> None:
    """A failed commit is simply tried again."""

    class Mutant(PartitionTask):
        async def _commit(self, turn: Turn, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> int | None:
            try:
                return await super()._commit(turn, outputs, offsets)
            except KafkaError:
                return await super()._commit(turn, outputs, offsets)

    patch.setattr(partition_module, "PartitionTask", Mutant)


def no_check_of_where_a_batch_begins(patch: pytest.MonkeyPatch, testbed: PartitionTestbed) -> None:
    """Whatever comes is taken, also what was polled before a reopening."""

    patch.setattr(BatchQueue, "check_begin", lambda self, batch: None)


LOST_ANSWER = (KafkaError("answer lost"), True)
FAILED = (KafkaError("failed"), False)


async def outcome(
    folder: Path, install: Install | None, failures: Sequence[tuple[Exception, bool]], *, fold: Fold = add
) -> tuple[list[Any], int]:
    """What is published, and the sum that is remembered, when commits fail."""
    with pytest.MonkeyPatch.context() as patch:
        testbed = PartitionTestbed(folder, ROWS)
        if install is not None:
            install(patch, testbed)
            testbed.partition = testbed.new_partition()
        testbed.fold = fold
        testbed.host.turn_max_records = 2
        testbed.host.failures += failures
        testbed.start()
        try:
            await testbed.processed()
        finally:
            await testbed.stop()
        return testbed.published(), testbed.table.tally().total


def without_positions(state: Tally, change: Change[int]) -> Any:
    """A fold that believes every change it is given."""
    state.total += change.row
    return (change.key, state.total) if state.total % 10 == 0 else STATE_ONLY


async def test_the_real_code_gives_the_expected_outcome(tmp_path: Path) -> None:
    assert await outcome(tmp_path, None, [LOST_ANSWER, FAILED]) == (EXPECTED, 30)


@pytest.mark.parametrize(
    ("install", "failure"),
    [
        (store_before_commit, FAILED),
        (offsets_outside_the_transaction, FAILED),
        (no_new_task_after_an_unknown_outcome, LOST_ANSWER),
    ],
)
async def test_a_mutant_without_a_safeguard_is_caught(
    tmp_path: Path, install: Install, failure: tuple[Exception, bool]
) -> None:
    # The fold gives no second line of defence here, so that the runtime's own safeguards are what is seen.
    assert await outcome(tmp_path / "real", None, [failure], fold=without_positions) == (EXPECTED, 30)
    assert await outcome(tmp_path / "mutant", install, [failure], fold=without_positions) != (EXPECTED, 30)


async def test_the_mutant_that_takes_any_batch_is_caught(tmp_path: Path) -> None:
    for install, expected in [(None, [*EXPECTED, b"40"]), (no_check_of_where_a_batch_begins, EXPECTED)]:
        with pytest.MonkeyPatch.context() as patch:
            testbed = PartitionTestbed(tmp_path / str(install), ROWS)
            if install is not None:
                install(patch, testbed)
                testbed.partition = testbed.new_partition()
            testbed.start()
            await testbed.processed()
            testbed.rows = [*ROWS, 8, 2]
            await testbed.batch(len(testbed.rows) - 1, [2]).submit(add)  # the one before it was lost on its way
            await testbed.processed()
            await testbed.stop()
            assert testbed.published() == expected
