"""The command `python -m bench batch`: measure the lake, write `.bench/batch.json`, print a table and draw a chart."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, Final

from bench import chart
from bench.lake.figures import CASES, FIRST, Row, medians, merged, table, verdicts
from bench.lake.measure import measured_all, plan_of
from bench.lake.systems import SYSTEMS, LakeSystem, require
from bench.testbed import RESULTS, Say
from stack.site import REPOSITORY

TARGET: Final = RESULTS / "batch.json"


def add_batch(actions: Any, say: Say) -> None:
    """Add the command `batch` to the command-line parser."""
    parser = actions.add_parser("batch", help="measure the lake, and pipelines that rewrite all data in every run")
    names = ", ".join(system.name for system in SYSTEMS)
    systems, cases = f"systems to measure (default: {names})", f"cases to measure (default: {', '.join(CASES)})"
    parser.add_argument("--system", dest="systems", type=chosen_systems, default=SYSTEMS, help=systems)
    parser.add_argument("--case", dest="cases", type=chosen_cases, default=tuple(CASES), help=cases)
    size = "scale of orders and product lines (default: 1, which is 25,000 orders)"
    parser.add_argument("--size", type=float, default=1.0, help=size)
    parser.add_argument(
        "--customers", type=int, metavar="COUNT", help="number of customers (default: 1,000,000 at any size)"
    )
    parser.add_argument("--repeat", type=int, choices=range(1, 11), default=1, metavar="N", help="rounds, from 1 to 10")
    parser.set_defaults(run=lambda asked: run(asked, say))


def run(asked: argparse.Namespace, say: Say) -> int:
    """Run the requested measurements; return exit code 0 if all first runs finished and no Gold table is wrong."""
    require(asked.systems)
    plan = plan_of(asked.size, asked.customers)
    runs = measured_all(plan, asked.size, asked.systems, asked.cases, repeat=asked.repeat, say=say)
    now = medians(runs)
    rows = merged(_written(), now)
    TARGET.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")
    say(f"results: {TARGET.relative_to(REPOSITORY)}")
    print("\n".join(["", *table(now), "", *verdicts(rows)]))
    if any(row.disturbed for row in now):
        print("! other programs used so much of the machine during this run that its figures may be too high")
    if rows:
        chart.write(chart.pictures("batch", [row.as_json() for row in rows]), RESULTS)
        say(f"chart: {(RESULTS / 'batch.svg').relative_to(REPOSITORY)}")
    return 1 if any(row.wrong for row in now) or not is_complete(runs, asked) else 0


def is_complete(runs: Sequence[Row], asked: argparse.Namespace) -> bool:
    """Whether all systems finished all runs of the case `first`; failures in other cases are only printed."""
    if FIRST not in asked.cases:
        return bool(runs)
    count = sum(row.case == FIRST for row in runs)
    return bool(count == len(asked.systems) * asked.repeat)


def _written() -> list[Row]:
    """Return the results that earlier invocations of the command wrote; empty if there are none."""
    if not TARGET.exists():
        return []
    return [Row.of_json(found) for found in json.loads(TARGET.read_text())]


def chosen_systems(text: str) -> tuple[LakeSystem, ...]:
    """Parse a comma-separated list of system names."""
    wanted = _known(text, [system.name for system in SYSTEMS])
    return tuple(system for system in SYSTEMS if system.name in wanted)


def chosen_cases(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of case names."""
    return tuple(_known(text, list(CASES)))


def _known(text: str, known: Sequence[str]) -> list[str]:
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown name {name!r}: choose from {', '.join(known)}")
    return wanted
