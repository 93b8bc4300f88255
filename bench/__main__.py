"""The benchmarks: python -m bench stream [--system NAME,…] [--input NAME,…] [--repeat N]"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from bench.figures import medians, table
from bench.ground import RESULTS
from bench.inputs import INPUTS, Input
from bench.stream import measured_all
from bench.systems import PEER_PYTHON, SYSTEMS, System, fetch
from stack.errors import StackError
from stack.site import REPOSITORY

WHOLE: Final = "small,large"
CHART: Final = REPOSITORY / "bench" / "stream.png"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; 0 if it came to its end."""
    asked = parser().parse_args(arguments)
    RESULTS.mkdir(exist_ok=True)
    try:
        run: Callable[[argparse.Namespace], int] = asked.run
        return run(asked)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    actions = made.add_subparsers(required=True, metavar="BENCHMARK")
    stream = actions.add_parser("stream", help="the order stream beside other systems")
    names = ", ".join(dict.fromkeys(system.name for system in SYSTEMS))
    stream.add_argument("--system", dest="systems", type=chosen_systems, default=SYSTEMS, help=f"of {names}")
    stream.add_argument("--input", dest="inputs", type=chosen_inputs, default=WHOLE, help=f"of {', '.join(INPUTS)}")
    stream.add_argument("--repeat", type=_positive, default=3, help="runs of each; their medians count")
    stream.set_defaults(run=run_stream)
    return made


def run_stream(asked: argparse.Namespace) -> int:
    """Measure, print the table, write `.bench/stream.json`; draw the chart if everything was measured."""
    fetch(asked.systems, say)
    runs = measured_all(asked.inputs, asked.systems, repeat=asked.repeat, say=say)
    rows = medians(runs)
    write_json("stream", [row.as_json() for row in rows])
    print("\n".join(["", *table(rows)]))
    if any(row.disturbed for row in rows):
        print("! others took so much of the machine that the figure may be too low")
    if len(runs) < len(asked.inputs) * len(asked.systems) * asked.repeat:
        say("not every run came to an end: see above")
        return 1
    if tuple(asked.systems) == SYSTEMS and asked.inputs == chosen_inputs(WHOLE):
        command = [str(PEER_PYTHON), "-m", "bench.chart", str(RESULTS / "stream.json"), str(CHART)]
        subprocess.run(command, cwd=REPOSITORY, check=True)
        say(f"chart: {CHART.relative_to(REPOSITORY)}")
    return 0


def write_json(name: str, content: Any) -> None:
    """Write the results of one benchmark."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    say(f"results: {path.relative_to(REPOSITORY)}")


def chosen_systems(text: str) -> tuple[System, ...]:
    """Systems by their names, each in all its modes, or as `name/mode` in one."""
    wanted = [name.strip() for name in text.split(",")]
    known = {name for system in SYSTEMS for name in (system.name, f"{system.name}/{system.mode}")}
    _refuse_unknown(wanted, known)
    return tuple(system for system in SYSTEMS if {system.name, f"{system.name}/{system.mode}"} & set(wanted))


def chosen_inputs(text: str) -> tuple[Input, ...]:
    """Inputs by their names."""
    wanted = [name.strip() for name in text.split(",")]
    _refuse_unknown(wanted, set(INPUTS))
    return tuple(INPUTS[name] for name in wanted)


def say(line: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _refuse_unknown(wanted: Sequence[str], known: set[str]) -> None:
    for name in wanted:
        if name not in known:
            raise argparse.ArgumentTypeError(f"there is no {name!r}; it is one of {', '.join(sorted(known))}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
