"""Goal: what waits for a turn is bounded in bytes, leaves in its order, and shows a gap.

Method: batches of numbers by hand and at random.
"""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.runtime.partition.batch import RECORD_OVERHEAD_BYTES, BatchOwner, RecordBatch
from streams.runtime.partition.queue import PATIENCE_S, BatchesApartError, BatchQueue
from streams.runtime.testing import Consumed
from tests.support.fakes import add


def batch_at(
    first: int, count: int, *, topic: str = "numbers", from_offset: int | None = None, at_ms: int = 0
) -> RecordBatch:
    records = [Consumed(topic, 0, first + i, b"k", b"v", timestamp=at_ms) for i in range(count)]
    begin = first if from_offset is None else from_offset
    return RecordBatch(topic, 0, begin, records, cast(BatchOwner, None))


def queue_of(*batches: RecordBatch, max_bytes: int = 1_000_000, **next_offsets: int) -> BatchQueue:
    queue = BatchQueue(max_bytes)
    queue.next_offsets = dict(next_offsets)
    queue.note_behind(dict.fromkeys(next_offsets, 0))
    for batch in batches:
        queue.polled(batch)
        queue.put(batch, add)
    return queue


def taken(queue: BatchQueue, max_records: int) -> list[int]:
    """The first offset of each batch of a turn."""
    return [batch.records[0].offset for batch, _ in queue.take(max_records)]


def test_a_turn_takes_what_waits_up_to_its_size() -> None:
    queue = queue_of(batch_at(0, 2), batch_at(2, 2), batch_at(4, 2), numbers=0)
    assert taken(queue, 5) == [0, 2]
    assert taken(queue, 5) == [4]
    assert taken(queue, 5) == []
    assert (queue.next_offsets, bool(queue)) == ({"numbers": 6}, False)


def test_a_batch_that_is_larger_than_a_turn_is_a_turn_of_its_own() -> None:
    queue = queue_of(batch_at(0, 9), batch_at(9, 1), numbers=0)
    assert taken(queue, 5) == [0]
    assert taken(queue, 5) == [9]


def test_a_turn_takes_all_topics_together() -> None:
    queue = queue_of(batch_at(0, 2), batch_at(7, 2, topic="letters"), numbers=0, letters=7)
    assert taken(queue, 5) == [0, 7]
    assert queue.next_offsets == {"numbers": 2, "letters": 9}


def test_a_batch_may_begin_behind_transaction_markers() -> None:
    assert taken(queue_of(batch_at(5, 2, from_offset=3), numbers=3), 5) == [5]


@pytest.mark.parametrize(
    "batch",
    [batch_at(4, 2), batch_at(2, 2), batch_at(3, 2, topic="letters"), batch_at(2, 2, from_offset=3)],
    ids=["ahead", "behind", "of a topic nobody sought", "with a record of before"],
)
def test_a_batch_that_does_not_follow_is_refused(batch: RecordBatch) -> None:
    with pytest.raises(BatchesApartError, match="does not follow"):
        queue_of(batch, numbers=3).take(5)


def test_there_is_room_until_the_bytes_are_spent_from_the_poll_to_the_turn() -> None:
    queue, batch = queue_of(max_bytes=2 * (RECORD_OVERHEAD_BYTES + 2), numbers=0), batch_at(0, 2)
    room = [queue.has_room("numbers")]
    queue.polled(batch)
    room.append(queue.has_room("numbers"))
    queue.put(batch, add)
    queue.take(5)
    assert [*room, queue.has_room("numbers")] == [True, False, True], "on its way through Faust it counts already"


def test_topics_share_the_bytes_so_that_none_of_them_crowds_out_the_others() -> None:
    one = RECORD_OVERHEAD_BYTES + 2
    queue = queue_of(batch_at(0, 2), batch_at(0, 1, topic="letters"), max_bytes=4 * one, numbers=0, letters=0)
    assert (queue.has_room("numbers"), queue.has_room("letters")) == (False, True)


def test_a_turn_takes_the_oldest_of_all_topics_first() -> None:
    numbers = [batch_at(i, 1, at_ms=at_ms) for i, at_ms in enumerate((10, 20, 50))]
    letters = [batch_at(i, 1, topic="letters", at_ms=at_ms) for i, at_ms in enumerate((15, 30, 40))]
    queue = queue_of(*numbers, *letters, numbers=0, letters=0)
    assert [batch.records[0].timestamp for batch, _ in queue.take(4)] == [10, 15, 20, 30]
    assert [batch.records[0].timestamp for batch, _ in queue.take(4)] == [40, 50]


def test_a_turn_ends_where_a_topic_that_has_more_runs_dry() -> None:
    numbers = [batch_at(i, 1, at_ms=at_ms) for i, at_ms in enumerate((10, 20))]
    queue = queue_of(*numbers, batch_at(0, 1, topic="letters", at_ms=15), numbers=0, letters=0)
    queue.note_behind({"letters": 7})
    assert [batch.records[0].timestamp for batch, _ in queue.take(9)] == [10, 15]
    assert queue.waits_for_more(), "the letters that follow may belong to the numbers that wait"
    queue.note_behind({"letters": 0})
    assert not queue.waits_for_more()
    assert [batch.records[0].timestamp for batch, _ in queue.take(9)] == [20]


def test_nothing_is_known_of_a_topic_before_it_was_looked_at() -> None:
    queue = BatchQueue(1_000_000)
    queue.next_offsets = {"numbers": 0, "letters": 0}
    queue.put(batch_at(0, 1), add)
    assert (queue.dry, queue.waits_for_more()) == (["letters"], True)


def test_a_batch_on_its_way_through_faust_is_waited_for() -> None:
    queue = queue_of(batch_at(0, 1), numbers=0, letters=0)
    letter = batch_at(0, 1, topic="letters")
    queue.polled(letter)
    assert queue.waits_for_more()
    queue.put(letter, add)
    assert not queue.waits_for_more()


def test_a_topic_that_does_not_deliver_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("streams.runtime.partition.queue.time.monotonic", lambda: now)
    queue = queue_of(batch_at(0, 1), numbers=0, letters=0)
    queue.note_behind({"letters": 7})
    assert queue.waits_for_more()
    now += PATIENCE_S
    assert not queue.waits_for_more()


def test_what_waits_is_counted_by_topic_and_can_be_dropped() -> None:
    queue = queue_of(batch_at(0, 2), batch_at(2, 3), batch_at(0, 1, topic="letters"), numbers=0, letters=0)
    assert (queue.records_of("numbers"), queue.records_of("letters"), queue.records_of("others")) == (5, 1, 0)
    queue.clear()
    assert (queue.records_of("numbers"), bool(queue)) == (0, False)


@given(sizes=st.lists(st.integers(1, 10), max_size=20), max_records=st.integers(1, 15))
def test_turns_take_every_record_once_in_order_and_few_enough(sizes: list[int], max_records: int) -> None:
    batches = [batch_at(sum(sizes[:i]), size) for i, size in enumerate(sizes)]
    queue = queue_of(*batches, numbers=0)
    turns = []
    while queue:
        turns.append([batch for batch, _ in queue.take(max_records)])
    assert [batch for turn in turns for batch in turn] == batches
    assert all(len(turn) == 1 or sum(map(len, turn)) <= max_records for turn in turns)
    assert queue.has_room("numbers")
