"""Draw one of the README's charts from `stream.json` or `batch.json`: python -m bench.chart RESULTS TARGET."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

COLOURS: Final = {"exactly_once": "#1b6e8f", "at_least_once": "#b9c4c9"}
OURS: Final = "#d1495b"

Row = Mapping[str, Any]


def label(row: Row) -> str:
    """Return the label of a bar: system, number of workers or threads, mode, and share of the input."""
    unit = "workers" if row["system"] == "millrace" else "threads"
    threads = f", {row['threads']} {unit}" if row["threads"] > 1 else ""
    part = f" ({row['share']:.0%} of the input)" if row["share"] < 1 else ""
    return f"{row['system']}{threads}\n{row['mode'].replace('_', ' ')}{part}"


def by_input(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group the rows by input, slowest system first, because horizontal bars are drawn from bottom to top."""
    names = dict.fromkeys(row["input"] for row in rows)
    return {
        name: sorted((row for row in rows if row["input"] == name), key=lambda row: float(row["events_per_s"]))
        for name in names
    }


def draw(rows: Sequence[Row], target: Path) -> None:
    """Draw a bar chart of each system's events per second, with one panel per input."""
    from matplotlib.figure import Figure

    panels = by_input(rows)
    figure = Figure(figsize=(6.2 * len(panels), 4.2), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        colours = [OURS if row["system"] == "millrace" else COLOURS[row["mode"]] for row in found]
        bars = axes.barh([label(row) for row in found], [row["events_per_s"] for row in found], color=colours)
        axes.bar_label(bars, [f"{row['events_per_s']:,.0f}" for row in found], padding=3, fontsize=8)
        axes.set_title(f"{name}: {max(row['events'] for row in found):,} events, one process", fontsize=10)
        axes.set_xlabel("events per second", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
    figure.savefig(target, dpi=120)


def by_case(rows: Sequence[Row], size: float) -> dict[str, list[Row]]:
    """Group the correct rows of one size by case, slowest system first, because bars are drawn from bottom to top."""
    wanted = [row for row in rows if row["size"] == size and not row["wrong"]]
    names = dict.fromkeys(row["case"] for row in wanted)
    return {
        name: sorted((row for row in wanted if row["case"] == name), key=lambda row: -float(row["seconds"]))
        for name in names
    }


def draw_lake(rows: Sequence[Row], target: Path) -> None:
    """Draw a bar chart of each system's seconds, one panel per case, at size 1 or else the smallest measured size."""
    from matplotlib.figure import Figure

    size = 1 if any(row["size"] == 1 for row in rows) else min(row["size"] for row in rows)
    panels = by_case(rows, size)
    longest = max(row["seconds"] for found in panels.values() for row in found)
    figure = Figure(figsize=(9, 0.9 + 0.36 * sum(len(found) + 1.4 for found in panels.values())), layout="constrained")
    heights = [len(found) + 0.4 for found in panels.values()]
    every = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, (name, found) in zip(every, panels.items(), strict=True):
        colours = [OURS if row["system"] == "millrace" else COLOURS["at_least_once"] for row in found]
        bars = axes.barh([row["system"] for row in found], [row["seconds"] for row in found], color=colours)
        axes.bar_label(bars, [f"{row['seconds']:.3g} s" for row in found], padding=3, fontsize=8)
        axes.set_title(name.replace("_", " "), fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(0, longest * 1.1)
    every[-1].set_xlabel("seconds from start to end of the process; for warm cycles, of the cycle alone", fontsize=9)
    figure.savefig(target, dpi=120)


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    (draw_lake if "case" in given[0] else draw)(given, Path(sys.argv[2]))
