"""Goal: the verdict over the lake counts every row that is missing, twice or foreign, and says in which table.

Method: rows written by hand; nothing is read.
"""

from __future__ import annotations

from tests.faults.lake.lake_judgement import LakeJudgement


def judged(found: list[tuple[str]], expected: list[tuple[str]]) -> LakeJudgement:
    judgement = LakeJudgement()
    judgement.compare("I1", "I2", "bronze/orders", found, expected)
    return judgement


def test_the_same_rows_in_another_order_are_sound() -> None:
    judgement = judged([("a",), ("b",), ("b",)], [("b",), ("a",), ("b",)])
    assert (judgement.lost, judgement.twice, judgement.broken) == (0, 0, [])


def test_what_is_missing_is_lost() -> None:
    judgement = judged([("a",)], [("a",), ("b",)])
    assert (judgement.lost, judgement.twice, judgement.broken) == (1, 0, ["I1"])
    assert judgement.faults["I1"] == ["bronze/orders: ('b',) is missing"]


def test_what_is_there_more_often_is_twice() -> None:
    judgement = judged([("a",), ("a",), ("a",)], [("a",)])
    assert (judgement.lost, judgement.twice, judgement.broken) == (0, 2, ["I2"])


def test_a_row_that_differs_counts_on_both_sides() -> None:
    judgement = LakeJudgement()
    judgement.compare("I7", "I7", "gold/fact_orders", [("a", 1)], [("a", 2)])
    assert (judgement.lost, judgement.twice, judgement.broken) == (1, 1, ["I7"])
