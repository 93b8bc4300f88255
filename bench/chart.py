"""Draw the charts of the documents from the published results: python -m bench.chart.

Each `bench/results/NAME.json` becomes `docs/img/NAME.svg` and `docs/img/NAME-dark.svg`, by `make charts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from stack.site import REPOSITORY

PUBLISHED: Final = REPOSITORY / "bench" / "results"
PICTURES: Final = REPOSITORY / "docs" / "img"

LIGHT: Final = {
    "page": "#ffffff", "text": "#1c262c", "note": "#55656f", "axis": "#9fb0ba",
    "millrace": "#c8374a", "exactly_once": "#1b6e8f", "other": "#b4c0c6",
}  # fmt: skip
DARK: Final = {
    "page": "#0f1519", "text": "#e4ebef", "note": "#a3b1ba", "axis": "#586872",
    "millrace": "#e8697a", "exactly_once": "#4aa3c7", "other": "#6b7a83",
}  # fmt: skip

WIDTH: Final = 900
MARGIN: Final = 16
TITLE_HEIGHT: Final = 30
BAR_HEIGHT: Final = 22
LABEL_WIDTH: Final = 168
VALUE_WIDTH: Final = 62
FOOT_HEIGHT: Final = 40
"""Sizes in pixels. A label's width fits the longest name in the widest of the usual system fonts."""

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A horizontal bar: its label, its length in the panel's unit, the text at its end and the class of its colour."""

    label: str
    value: float
    text: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels of bars by title, with what each colour means; `columns` is the number of panels side by side."""

    title: str
    unit: str
    panels: Mapping[str, Sequence[Bar]]
    legend: Mapping[str, str]
    columns: int
    is_scale_shared: bool


def label(row: Row) -> str:
    """Return the label of a bar of the stream: the system, several workers or threads, and an interval of commits."""
    unit = "workers" if row["system"] == "millrace" else "threads"
    several = f", {row['threads']} {unit}" if row["threads"] > 1 else ""
    interval = f", {row['commit_ms']} ms" if row.get("commit_ms") else ""
    return f"{row['system']}{several}{interval}"


def by_input(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group the rows by input, fastest system first."""
    names = dict.fromkeys(row["input"] for row in rows)
    return {
        name: sorted((row for row in rows if row["input"] == name), key=lambda row: -float(row["events_per_s"]))
        for name in names
    }


def stream_chart(rows: Sequence[Row]) -> Chart:
    """Chart each system's events per second, with one panel per input."""

    def bar(row: Row) -> Bar:
        part = "" if row["share"] == 1 else f" on {row['share']:.0%} of the input"
        kind = "millrace" if row["system"] == "millrace" else row["mode"].replace("at_least_once", "other")
        return Bar(label=label(row), value=row["events_per_s"], text=f"{row['events_per_s']:,.0f}{part}", kind=kind)

    return Chart(
        title="Events per second of each system",
        unit="events per second",
        panels={
            f"{name}: {max(row.get('events', 0) for row in found):,} events": [bar(row) for row in found]
            for name, found in by_input(rows).items()
        },
        legend={
            "millrace": "Millrace, exactly once",
            "exactly_once": "others, exactly once",
            "other": "others, at least once",
        },
        columns=2,
        is_scale_shared=False,
    )


def by_case(rows: Sequence[Row], size: float) -> dict[str, list[Row]]:
    """Group the correct rows of one size by case, fastest system first."""
    wanted = [row for row in rows if row["size"] == size and not row["wrong"]]
    names = dict.fromkeys(row["case"] for row in wanted)
    return {
        name: sorted((row for row in wanted if row["case"] == name), key=lambda row: float(row["seconds"]))
        for name in names
    }


def lake_chart(rows: Sequence[Row]) -> Chart:
    """Chart each system's seconds, one panel per case, at size 1 or else the smallest measured size."""
    size = 1 if any(row["size"] == 1 for row in rows) else min(row["size"] for row in rows)

    def bar(row: Row) -> Bar:
        kind = "millrace" if row["system"] == "millrace" else "other"
        return Bar(label=row["system"], value=row["seconds"], text=f"{row['seconds']:.3g} s", kind=kind)

    return Chart(
        title="Seconds of each system in each case",
        unit="seconds from start to end of the process; for warm cycles, of the cycle alone",
        panels={name.replace("_", " "): [bar(row) for row in found] for name, found in by_case(rows, size).items()},
        legend={"millrace": "Millrace", "other": "others"},
        columns=1,
        is_scale_shared=True,
    )


def svg(chart: Chart, colours: Mapping[str, str]) -> str:
    """Draw a chart as SVG that refers to no other file."""
    top, parts = MARGIN, []
    width = (WIDTH - MARGIN * (chart.columns + 1)) / chart.columns
    longest = max((bar.value for bars in chart.panels.values() for bar in bars), default=0.0)
    names = list(chart.panels)
    for start in range(0, len(names), chart.columns):
        line = names[start : start + chart.columns]
        for column, name in enumerate(line):
            bars = chart.panels[name]
            most = longest if chart.is_scale_shared else max(bar.value for bar in bars)
            parts += panel(name, bars, left=MARGIN + column * (width + MARGIN), top=top, width=width, most=most)
        top += TITLE_HEIGHT + BAR_HEIGHT * max(len(chart.panels[name]) for name in line) + MARGIN
    parts += foot(chart, top)
    return "\n".join([*opening(chart.title, top + FOOT_HEIGHT, colours), *parts, "</svg>", ""])


def opening(title: str, height: int, colours: Mapping[str, str]) -> list[str]:
    """Return the lines before the first panel: size, title, fonts, colours and background."""
    fonts = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        "<style>",
        *(f".{name} {{ fill: {colour} }}" for name, colour in colours.items()),
        f"text {{ font-size: 12px; font-family: {fonts} }}",
        ".title { font-size: 13px; font-weight: 600 }",
        "</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
    ]


def panel(name: str, bars: Sequence[Bar], *, left: float, top: float, width: float, most: float) -> list[str]:
    """Draw a panel's title, axis and bars; `most` is the value of the longest possible bar."""
    zero, first = left + LABEL_WIDTH, top + TITLE_HEIGHT
    scale = (width - LABEL_WIDTH - VALUE_WIDTH) / most if most else 0.0
    lines = [
        f'<text class="text title" x="{zero:.0f}" y="{top + 18:.0f}">{escape(name)}</text>',
        f'<rect class="axis" x="{zero - 1:.0f}" y="{first:.0f}" width="1" height="{BAR_HEIGHT * len(bars)}"/>',
    ]
    for number, bar in enumerate(bars):
        y, length = first + number * BAR_HEIGHT, bar.value * scale
        lines += [
            f'<text class="text" x="{zero - 8:.0f}" y="{y + 15:.0f}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect class="{bar.kind}" x="{zero:.0f}" y="{y + 2:.0f}" width="{length:.1f}" height="{BAR_HEIGHT - 4}"/>',
            f'<text class="text" x="{zero + length + 6:.1f}" y="{y + 15:.0f}">{escape(bar.text)}</text>',
        ]
    return lines


def foot(chart: Chart, top: float) -> list[str]:
    """Draw the unit and the meaning of the colours below the panels."""
    lines = [
        f'<text class="note" x="{WIDTH - MARGIN}" y="{top + 16:.0f}" text-anchor="end">{escape(chart.unit)}</text>'
    ]
    for number, (kind, meaning) in enumerate(chart.legend.items()):
        left = MARGIN + number * 176
        lines += [
            f'<rect class="{kind}" x="{left}" y="{top + 6:.0f}" width="12" height="12"/>',
            f'<text class="note" x="{left + 18}" y="{top + 16:.0f}">{escape(meaning)}</text>',
        ]
    return lines


def pictures(name: str, rows: Sequence[Row]) -> dict[str, str]:
    """Draw the light and the dark picture of a benchmark's results; return them by file name."""
    chart = lake_chart(rows) if "case" in rows[0] else stream_chart(rows)
    return {f"{name}.svg": svg(chart, LIGHT), f"{name}-dark.svg": svg(chart, DARK)}


def published() -> dict[str, str]:
    """Draw every published result; return the pictures by file name."""
    drawn: dict[str, str] = {}
    for path in sorted(PUBLISHED.glob("*.json")):
        drawn |= pictures(path.stem, json.loads(path.read_text())["rows"])
    return drawn


def write(drawn: Mapping[str, str], folder: Path) -> None:
    """Write pictures into a folder, by file name."""
    for name, text in drawn.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(published(), PICTURES)
