"""Goal: the page is plain for those who hear it or use no mouse: names, headings and tables are as they should be.

Method: a page with every section is parsed. A checker of accessibility reads it in a browser each night.
"""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from streams.runtime.web.dashboard.html import MOST_CHART_ROWS, Markup, chart, document, element
from streams.runtime.web.dashboard.pages import _header
from streams.runtime.web.dashboard.sections import sections
from tables.views.connector import connector_section
from tables.views.lake import lake_section
from tables.views.people import waiting_section
from tables.views.rules import ORDER_RULES
from tables.views.sales import sales_section
from tests.unit.dashboard.snapshots import NOON, seen

VOID = {"meta", "link", "input"}
PARTS = {
    "waiting": waiting_section, "sales": sales_section, "connector": connector_section, "lake": lake_section,
}  # fmt: skip
EVERYTHING: dict[str, Any] = {
    "alerts": [{"rule": "Behind", "since": NOON, "found": "x"}],
    "alert_log": [{"rule": "Behind", "fired": NOON, "ended": None, "found": "x"}],
    "letters": [{"reason": "r", "count": 1, "newest": NOON}],
    "waiting": {
        "count": 1,
        "orders": [
            {
                "order_id": "o", "reason": "products_missing", "num_products": 2, "products_present": 1,
                "age_s": 1.0, "first_seen_at": None,
            }
        ],
    },
    "sales": {
        "at": NOON, "orders": [1, 2], "cents": [3, 4], "countries": {"PL": 1},
        "results": [{"name": "t", "time": "now", "heads": ["a"], "rows": [["1"]]}],
    },
    "connector": {"name": "c", "is_asked": True, "at": NOON, "tasks": {"task 0": "RUNNING"}},
    "lake": {"state": "done", "ended": NOON, "seconds": 1.0, "rows": 1, "error": ""},
}  # fmt: skip


class Outline(HTMLParser):
    """Elements in their order, with their attributes and the elements around them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "elements are nested"

    def all(self, *names: str) -> list[tuple[str, dict[str, str | None], tuple[str, ...]]]:
        return [entry for entry in self.found if entry[0] in names]


@pytest.fixture
def outline() -> Outline:
    found = sections([seen(**EVERYTHING), seen("b:6066")], ORDER_RULES, PARTS)
    assert all(found.values()), "every section has something to show"
    parts = [element("section", html, id=name) for name, html in found.items()]
    return Outline(document("Millrace", _header("app"), element("main", *parts), live=True))


def test_headings_leave_out_no_level(outline: Outline) -> None:
    levels = [int(name[1]) for name, _, _ in outline.all("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(later <= former + 1 for former, later in pairwise(levels))


def test_a_table_that_scrolls_has_a_name_and_is_reached_by_keyboard(outline: Outline) -> None:
    regions = [attributes for _, attributes, _ in outline.found if attributes.get("class") == "scroll"]
    assert len(regions) >= 10
    assert all(each["tabindex"] == "0" and each["aria-label"] and each["role"] == "region" for each in regions)


def test_the_heads_of_rows_and_columns_are_marked(outline: Outline) -> None:
    assert {attributes.get("scope") for _, attributes, _ in outline.all("th")} == {"col", "row"}


def test_a_chart_has_a_name_and_a_table_beside_it(outline: Outline) -> None:
    charts = outline.all("svg")
    assert len(charts) == 6
    assert all(attributes["aria-label"] and attributes["role"] == "img" for _, attributes, _ in charts)
    assert len([each for each in outline.all("table") if "details" in each[2]]) == len(charts)


def test_fields_and_the_page_have_names(outline: Outline) -> None:
    assert all("label" in around for _, _, around in outline.all("input"))
    assert outline.all("html")[0][1] == {"lang": "en"}
    assert len(outline.all("title")) == len(outline.all("main")) == len(outline.all("h1")) == 1


def test_the_table_of_a_long_chart_is_short() -> None:
    for number in (2, 91, 97, 900):
        shown = chart("Speed", "/s", [1.0] * number, step_s=10)
        assert shown.count("<tr>") <= MOST_CHART_ROWS
        assert "−0 min" in shown
    assert isinstance(shown, Markup)
