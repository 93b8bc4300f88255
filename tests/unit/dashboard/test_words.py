"""Goal: a count on the page agrees with its noun and its verb, also if it is 1.

Method: the helper itself; then everything with a count of 1 and of 2, on the page and in the findings of the rules, is
searched for a wrong pair.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from streams.runtime.web.dashboard.sections import sections
from streams.runtime.web.words import counted
from tables.views.people import order_page
from tables.views.rules import ORDER_RULES
from tests.unit.dashboard.snapshots import NO_OUTPUTS, figures, seen, source

NOUNS = (
    "amendment|change|claim|dead letter|order|complete order|partition|part|record|changelog record|row|"
    "source partition|table|(?:more )?Gold table|worker"
)
WRONG = re.compile(rf"\b1 (?:{NOUNS})s\b|(?<!of )(?<![\d,])(?:[02-9]|[1-9]\d+) (?:{NOUNS})\b(?! table)")
COUNTS = ("orders.overdue", "guard.emitted_twice", "incomplete.held_by_another_deployment", "connector.failed")
MORE_COUNTS = ("lake.tables_different", "lake.tables_stale", "warehouse.refused")


class Now:
    """Figures without a past; except that a minute ago, no turn was counted less."""

    def __init__(self, **changed: Any) -> None:
        self.now = figures(**changed)

    def before(self, seconds: float) -> Any:
        return figures(lag_s=self.now.lag_s, events={}, visible=NO_OUTPUTS, dead_letters=0)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 orders wait"), (1, "1 order waits"), (2, "2 orders wait"), (1_200, "1,200 orders wait")],
)
def test_a_number_agrees_with_its_noun_and_its_verb(number: int, expected: str) -> None:
    assert counted(number, "order waits", "orders wait") == expected
    assert counted(number, "order") == expected.removesuffix("s").removesuffix(" wait")


@pytest.mark.parametrize("number", [1, 2, 11])
def test_no_finding_of_a_rule_has_a_wrong_number(number: int) -> None:
    lag = {f"orders/{n}": 5.0 for n in range(number)}
    past = Now(lag_s=lag, dead_letters=number, events=dict.fromkeys((*COUNTS, *MORE_COUNTS), number))
    found = {rule.name: rule.find(past) for rule in ORDER_RULES if rule.find is not None}
    counts = {name: text for name, text in found.items() if text is not None and str(number) in text}
    assert len(counts) >= 7, counts
    assert {name: text for name, text in counts.items() if WRONG.search(text)} == {}
    verbs = ("have", "were", "are", "do") if number == 1 else ("has", "was", "is", "does", "differs")
    wrong = {name: text for name, text in counts.items() if set(verbs) & set(text.split())}
    assert wrong == {}


@pytest.mark.parametrize("number", [1, 2])
def test_no_section_of_the_page_has_a_wrong_number(number: int) -> None:
    sources = {"orders/0": source(number, 0.4)}
    restoring = {"0": {"state": "opening", "restore_remaining": number, "error": "x"}}
    waiting = {"count": number, "orders": []}
    workers = [seen(f"{n}:6066", stats={"sources": sources, "refused": number}, waiting=waiting) for n in range(number)]
    opening = seen(stats={"ready": False, "partitions": restoring})
    for shown in (sections(workers, ORDER_RULES, {}), sections([opening], ORDER_RULES, {})):
        for name, html in shown.items():
            text = re.sub(r"<[^>]*>", " ", html)
            assert not WRONG.search(text), (name, WRONG.search(text))


@pytest.mark.parametrize(("number", "expected"), [(0, "0 amendments"), (1, "1 amendment "), (2, "2 amendments")])
def test_the_page_of_an_order_counts_its_amendments(number: int, expected: str) -> None:
    view = {"status": "emitted", "emission": "emitted", "revision": number, "row": None, "held": False}
    assert f"{expected}" in order_page("1", view)
