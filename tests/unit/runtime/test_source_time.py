"""Goal: one change with a wrong time does not make a partition believe that years have passed.

Method: turns over records with Kafka's timestamp.
"""

from __future__ import annotations

import pytest

from streams.model.change import Change
from streams.runtime.partition.batch import RecordBatch
from streams.runtime.partition.turn import MOST_AHEAD_MS, Turn
from streams.runtime.testing import Consumed
from tests.support.fakes import TALLY_CODEC, TallyProcessor, add

NOW_MS = 1_800_000_000_000


class NoOwner:
    """Nobody takes the batch."""

    async def accept(self, batch: RecordBatch, fold: object) -> int:
        return 0


def newest_of(at_ms: int, record_ms: int) -> int:
    batch = RecordBatch("numbers", 0, 0, [Consumed("numbers", 0, 0, b"k", b"1", record_ms)], NoOwner())
    batch.changes = [Change(b"k", 1, deleted=False, position=(0, 1, 1, 0), at_ms=at_ms)]
    turn = Turn(lambda key: None, TALLY_CODEC, TallyProcessor().dead_letter)
    turn.fold([(batch, add)])
    return turn.newest_ms


@pytest.mark.parametrize("at_ms", [NOW_MS - 5, NOW_MS, NOW_MS + MOST_AHEAD_MS])
def test_a_credible_time_moves_the_partitions_time(at_ms: int) -> None:
    assert newest_of(at_ms, NOW_MS) == at_ms


def test_a_time_far_ahead_of_kafkas_is_passed_over() -> None:
    assert newest_of(NOW_MS + MOST_AHEAD_MS + 1, NOW_MS) == 0


def test_without_kafkas_time_the_sources_is_taken() -> None:
    assert newest_of(NOW_MS, 0) == NOW_MS
