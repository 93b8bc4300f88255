"""Goal: the charts in the documents are those of the published results, which are the tables of the page.

Method: every picture is drawn again and compared with its file; every figure is looked up in the page.
"""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

from bench.chart import DARK, LIGHT, PICTURES, PUBLISHED, lake_chart, pictures, published, stream_chart, svg
from stack.site import REPOSITORY

ROW = {"system": "millrace", "mode": "exactly_once", "threads": 1, "input": "small", "share": 1, "events": 10}


def test_the_pictures_in_the_documents_are_drawn_from_the_published_results() -> None:
    drawn = published()
    assert set(drawn) == {"batch-dark.svg", "batch.svg", "stream-dark.svg", "stream.svg"}
    assert [name for name, text in drawn.items() if (PICTURES / name).read_text() != text] == []


def test_the_published_results_are_in_the_tables_of_the_page_with_date_and_command() -> None:
    page = (REPOSITORY / "docs" / "benchmarks.md").read_text()
    for path in PUBLISHED.glob("*.json"):
        found = json.loads(path.read_text())
        assert found["date"] in page
        assert found["machine"]
        assert f"`{found['command'].partition(',')[0]}`" in page
        names = ("events_per_s", "cpu_us_per_event", "seconds", "cpu_s", "rss_mb")
        figures = {f"{row[name]:,}" for row in found["rows"] for name in names if name in row}
        assert figures - set(re.findall(r"\d[\d,.]*", page)) == set()


def test_the_longest_bar_fits_and_the_others_are_in_proportion() -> None:
    rows = [ROW | {"events_per_s": 400}, ROW | {"system": "peer", "mode": "at_least_once", "events_per_s": 100}]
    drawing = ElementTree.fromstring(svg(stream_chart(rows), LIGHT))  # noqa: S314  # our own
    bars = [each for each in drawing.iter("{http://www.w3.org/2000/svg}rect") if each.get("height") == "18"]
    ours, peer = (float(bar.get("width", "")) for bar in bars)
    assert [bar.get("class") for bar in bars] == ["millrace", "other"]
    assert ours == 4 * peer
    assert 0 < ours < 450


def test_both_variants_differ_in_colours_only() -> None:
    light, dark = pictures(
        "lake", [{"system": "millrace", "case": "first", "size": 1, "seconds": 0.5, "wrong": []}]
    ).values()
    for name in LIGHT:
        dark = dark.replace(f".{name} {{ fill: {DARK[name]} }}", f".{name} {{ fill: {LIGHT[name]} }}")
    assert light == dark


def test_names_are_escaped() -> None:
    row = {"system": "<plain>", "case": "first", "size": 1, "seconds": 0.0, "wrong": []}
    assert "&lt;plain&gt;" in svg(lake_chart([row]), LIGHT)
