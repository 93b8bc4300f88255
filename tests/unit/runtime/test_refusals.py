"""Goal: the reasons of dead letters can be shown to anybody, and are few, whatever the data is.

Method: reasons as folds and decoders give them.
"""

from __future__ import annotations

from streams.runtime.refusals import MOST_CHARACTERS, MOST_REASONS, OTHER, Refusals, general


def test_the_same_fault_has_the_same_reason_whatever_value_it_has() -> None:
    refusals = Refusals()
    refusals.note(["quantity: must be at least 1, not -3", "quantity: must be at least 1, not -40"], 7.0)
    assert refusals.most_common(5) == [
        {"reason": "quantity: must be at least n, not -n", "count": 2, "newest": 7},
    ]


def test_no_value_of_a_row_is_left_in_a_reason() -> None:
    assert general("e-mail 'ann@shop.example' or \"Ann's\" at byte 34") == "e-mail … or … at byte n"


def test_the_most_frequent_reason_comes_first_with_the_time_of_its_newest_letter() -> None:
    refusals = Refusals()
    refusals.note(["a", "b"], 1.0)
    refusals.note(["b"], 2.0)
    assert [(each["reason"], each["newest"]) for each in refusals.most_common(2)] == [("b", 2), ("a", 1)]
    assert refusals.newest == "b"
    refusals.note(["a"], 3.0)
    assert (refusals.newest, Refusals().newest) == ("a", None)


def test_what_is_kept_of_reasons_is_bounded() -> None:
    refusals = Refusals()
    refusals.note([f"{chr(0x100 + number)}" * 5_000 for number in range(300)], 1.0)
    found = refusals.most_common(1_000)
    assert len(found) == MOST_REASONS + 1
    assert found[0] == {"reason": OTHER, "count": 300 - MOST_REASONS, "newest": 1}
    assert max(len(each["reason"]) for each in found) == MOST_CHARACTERS


def test_a_letter_without_a_reason_is_counted_too() -> None:
    refusals = Refusals()
    refusals.note([""], 1.0)
    assert refusals.most_common(1)[0]["reason"] == "no reason given"
