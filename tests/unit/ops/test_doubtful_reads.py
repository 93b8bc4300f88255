"""A row that was read in another state than its newest change had is in doubt until it is read so twice, or changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.connector.doubtful_reads import DoubtfulReads
from streams.model.position import SNAPSHOT_ROW

KEY = ("7",)


def noted(*records: tuple[str, int, Any], is_wrapped: bool = False) -> bool:
    """Whether the row is in doubt after these records: a letter as in Debezium's envelopes, a place, and a content."""
    doubts = DoubtfulReads()
    for op, place, content in records:
        after = None if op == "d" else {"id": 7, "name": content}
        envelope: Any = {"op": op, "before": None, "after": after}
        value = json.dumps({"schema": {}, "payload": envelope} if is_wrapped else envelope).encode()
        row = SNAPSHOT_ROW if op == "r" else 0
        doubts.note(KEY, (0, place, 0, row), value, is_deletion=op == "d")
    assert doubts.keys <= {KEY}
    return bool(doubts.keys)


@pytest.mark.parametrize(
    ("records", "is_doubtful"),
    [
        ([("r", 1, "old"), ("r", 2, "new")], False),  # no change is known
        ([("u", 1, "a"), ("r", 2, "a")], False),
        ([("u", 1, "new"), ("r", 2, "old")], True),
        ([("d", 1, None), ("r", 2, "old")], True),
        ([("u", 1, "new"), ("r", 2, "old"), ("r", 3, "new")], False),
        ([("u", 1, "new"), ("r", 2, "old"), ("r", 3, "old")], False),  # a change was lost
        ([("u", 1, "new"), ("r", 2, "old"), ("r", 3, "older")], True),
        ([("u", 1, "new"), ("r", 2, "old"), ("u", 3, "newest")], False),
        ([("u", 1, "new"), ("r", 2, "old"), ("d", 3, None)], False),
        ([("u", 3, "new"), ("r", 2, "old")], False),  # the read has the lower place
        ([("u", 3, "new"), ("u", 1, "old"), ("r", 4, "new")], False),  # delivered late
        ([("u", 1, "__debezium_unavailable_value"), ("r", 2, "old")], False),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_read_that_differs_from_the_change_before_it_is_in_doubt(
    records: list[tuple[str, int, Any]], is_doubtful: bool, is_wrapped: bool
) -> None:
    assert noted(*records, is_wrapped=is_wrapped) is is_doubtful
