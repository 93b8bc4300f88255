"""The chart of the README, drawn from `.bench/stream.json`: python -m bench.chart SOURCE TARGET (needs matplotlib)."""

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
    """A bar's name."""
    unit = "workers" if row["system"] == "millrace" else "threads"
    threads = f", {row['threads']} {unit}" if row["threads"] > 1 else ""
    part = f" ({row['share']:.0%} of the input)" if row["share"] < 1 else ""
    return f"{row['system']}{threads}\n{row['mode'].replace('_', ' ')}{part}"


def by_input(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each input, the slowest first, as bars are drawn from below."""
    names = dict.fromkeys(row["input"] for row in rows)
    return {
        name: sorted((row for row in rows if row["input"] == name), key=lambda row: float(row["events_per_s"]))
        for name in names
    }


def draw(rows: Sequence[Row], target: Path) -> None:
    """One panel per input: events per second."""
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


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
