"""The command line of the benchmarks.

python -m bench stream [--system NAME,…] [--input NAME,…] [--repeat N]    order stream, compared with other systems
python -m bench latency [--system NAME,…] [--partitions N,…] [--rates N,…]    time from a commit to a visible order
python -m bench state [--orders N,…]                                      a worker's state: restore, size, failover
python -m bench partitions [--cases PARTITIONS/WORKERS,…]                  memory and event loop with many partitions
python -m bench warehouse [--changes N] [--seconds N]                     rows into PostgreSQL, three ways; delays
python -m bench viewers [--viewers N] [--turns N] [--seconds N]           what viewers of the page cost a worker
python -m bench source [--rate N] [--seconds N] [--customers N] [--quiet N] capture from MariaDB and from PostgreSQL
python -m bench batch [--system NAME,…] [--case NAME,…] [--size N] [--repeat N]    lake, compared with plain pipelines
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from bench import chart, latency, partitions, source, state, viewers, warehouse
from bench.ending import no_process_left
from bench.figures import medians, table
from bench.inputs import INPUTS, Input
from bench.lake.command import add_batch
from bench.stream import measured_all
from bench.systems import LATENCY_SYSTEMS, SYSTEMS, System, fetch
from bench.testbed import RESULTS
from stack.errors import StackError
from stack.site import REPOSITORY

WHOLE: Final = "small,large"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark that the command line names; return the exit code, 0 on success."""
    asked = parser().parse_args(arguments)
    RESULTS.mkdir(exist_ok=True)
    try:
        run: Callable[[argparse.Namespace], int] = asked.run
        return run(asked)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Build the command-line parser of all benchmarks."""
    made = argparse.ArgumentParser(prog="python -m bench", description="run the benchmarks")
    actions = made.add_subparsers(required=True, metavar="BENCHMARK")
    _add_stream(actions)
    _add_latency(actions)
    _add_state(actions)
    _add_source(actions)
    _add_partitions(actions)
    _add_warehouse(actions)
    _add_viewers(actions)
    add_batch(actions, say)
    return made


def _add_stream(actions: Any) -> None:
    stream = actions.add_parser("stream", help="measure the order stream, and other systems that do the same work")
    names = ", ".join(dict.fromkeys(system.name for system in SYSTEMS))
    stream.add_argument(
        "--system", dest="systems", type=chosen_systems, default=SYSTEMS, help=f"systems to measure (default: {names})"
    )
    inputs = f"inputs to measure, from {', '.join(INPUTS)} (default: {WHOLE})"
    stream.add_argument("--input", dest="inputs", type=chosen_inputs, default=WHOLE, help=inputs)
    repeat = "number of runs of each system, whose medians are reported (default: 3)"
    stream.add_argument("--repeat", type=_positive, default=3, help=repeat)
    stream.set_defaults(run=run_stream)


def _add_latency(actions: Any) -> None:
    delays = actions.add_parser("latency", help="measure the time from a database commit to the visible order")
    delays.add_argument("--partitions", type=_numbers, default="4,12", help="numbers of partitions (default: 4,12)")
    delays.add_argument("--rates", type=_numbers, default="10,100,500", help="orders per second (default: 10,100,500)")
    delays.add_argument("--seconds", type=_positive, default=30, help="duration of each rate in seconds (default: 30)")
    peers = (
        "systems to measure (default: millrace); millrace-shared has SHARED_TRANSACTIONS=on, kafka-streams runs with "
        "commit intervals of 10, 30 and 100 ms, flink with checkpoints every 100 ms and every second"
    )
    delays.add_argument("--system", dest="systems", type=_latency_systems, default="millrace", help=peers)
    delays.set_defaults(run=run_latency)


def _add_state(actions: Any) -> None:
    restoring = actions.add_parser("state", help="measure a worker's state: restore time, size on disk, failover time")
    restoring.add_argument(
        "--orders", type=_numbers, default="100000,1000000", help="numbers of orders (default: 100000,1000000)"
    )
    restoring.set_defaults(run=run_state)


def _add_source(actions: Any) -> None:
    capture = actions.add_parser("source", help="measure the snapshot, and the time from a commit to its topic")
    capture.add_argument("--rate", type=_positive, default=200, help="changes per second (default: 200)")
    capture.add_argument("--seconds", type=_positive, default=30, help="duration in seconds (default: 30)")
    capture.add_argument("--customers", type=_positive, default=200_000, help="rows to read first (default: 200000)")
    text = "seconds without a change, in which the log that PostgreSQL keeps is watched (default: 0, none)"
    capture.add_argument("--quiet", type=int, default=0, help=text)
    capture.set_defaults(run=run_source)


def _add_partitions(actions: Any) -> None:
    many = actions.add_parser("partitions", help="measure what many partitions cost, while workers come and go")
    numbers = "PARTITIONS/WORKERS to measure (default: 4/1,24/1,96/1,96/4)"
    many.add_argument("--cases", type=_cases, default="4/1,24/1,96/1,96/4", help=numbers)
    usual = ",".join(partitions.USUAL_CHANGES)
    few = f"changes of the workers to measure, from {', '.join(partitions.CHANGES)} (default: {usual})"
    many.add_argument("--changes", type=_changes, default=usual, help=few)
    full = "states of finished orders that each partition has from the beginning (default: 0)"
    many.add_argument("--states", type=_count, default=0, help=full)
    many.set_defaults(run=run_partitions)


def _add_warehouse(actions: Any) -> None:
    loading = actions.add_parser("warehouse", help="measure changes per second into the warehouse, and the delay")
    loading.add_argument("--changes", type=_positive, default=200_000, help="changes of each kind (default: 200000)")
    loading.add_argument("--seconds", type=_positive, default=20, help="duration of 200 commits/s (default: 20)")
    loading.set_defaults(run=run_warehouse)


def _add_viewers(actions: Any) -> None:
    page = actions.add_parser("viewers", help="measure what viewers of the page / cost a worker")
    page.add_argument("--viewers", type=_positive, default=5, help="viewers at once (default: 5)")
    page.add_argument("--turns", type=_positive, default=5, help="turns with viewers, and as many without (default: 5)")
    page.add_argument("--seconds", type=_positive, default=10, help="length of a turn in seconds (default: 10)")
    page.set_defaults(run=run_viewers)


def run_stream(asked: argparse.Namespace) -> int:
    """Measure the stream, print a table and write `.bench/stream.json`; draw the chart if all systems were measured."""
    fetch(asked.systems, say)
    runs = measured_all(asked.inputs, asked.systems, repeat=asked.repeat, say=say)
    rows = medians(runs)
    write_json("stream", [row.as_json() for row in rows])
    print("\n".join(["", *table(rows)]))
    if any(row.disturbed for row in rows):
        print("! other programs used so much of the machine during this run that its figures may be too low")
    if len(runs) < len(asked.inputs) * len(asked.systems) * asked.repeat:
        say("not all runs finished: see the errors above")
        return 1
    if tuple(asked.systems) == SYSTEMS and asked.inputs == chosen_inputs(WHOLE):
        chart.write(chart.pictures("stream", [row.as_json() for row in rows]), RESULTS)
        say(f"chart: {(RESULTS / 'stream.svg').relative_to(REPOSITORY)}")
    return 0


def run_latency(asked: argparse.Namespace) -> int:
    """Measure the time from database commit to visible order, and write `.bench/latency.json`."""
    fetch(asked.systems, say)
    rows = []
    for count in asked.partitions:
        rows += latency.measured(count, asked.rates, asked.systems, seconds=asked.seconds, say=say)
    write_json("latency", rows)
    return 0


def run_state(asked: argparse.Namespace) -> int:
    """Measure restore, size and failover of a worker's state, and write `.bench/state.json`."""
    write_json("state", [row for orders in asked.orders for row in state.measured(orders, say=say)])
    return 0


def run_partitions(asked: argparse.Namespace) -> int:
    """Measure many partitions, and write `.bench/partitions.json`."""
    found = [
        partitions.measured(count, workers, changes=asked.changes, states=asked.states, say=say)
        for count, workers in asked.cases
    ]
    write_json("partitions", [row for rows in found for row in rows])
    return 0


def run_warehouse(asked: argparse.Namespace) -> int:
    """Measure the warehouse, and write `.bench/warehouse.json`."""
    write_json("warehouse", warehouse.measured(asked.changes, seconds=asked.seconds, say=say))
    return 0


def run_viewers(asked: argparse.Namespace) -> int:
    """Measure what viewers of the page cost, and write `.bench/viewers.json`."""
    write_json("viewers", viewers.measured(asked.viewers, turns=asked.turns, seconds=asked.seconds, say=say))
    return 0


def run_source(asked: argparse.Namespace) -> int:
    """Measure the capture of changes from each kind of source database, and write `.bench/source.json`."""
    rows = source.measured(
        rate=asked.rate, seconds=asked.seconds, customers=asked.customers, quiet=asked.quiet, say=say
    )
    write_json("source", rows)
    return 0


def write_json(name: str, content: Any) -> None:
    """Write the results of a benchmark to `.bench/<name>.json`."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    say(f"results: {path.relative_to(REPOSITORY)}")


def chosen_systems(text: str) -> tuple[System, ...]:
    """Parse a comma-separated list of systems; `name` selects all modes of a system, `name/mode` only one mode."""
    wanted = [name.strip() for name in text.split(",")]
    known = {name for system in SYSTEMS for name in (system.name, f"{system.name}/{system.mode}")}
    _refuse_unknown(wanted, known)
    return tuple(system for system in SYSTEMS if {system.name, f"{system.name}/{system.mode}"} & set(wanted))


def _latency_systems(text: str) -> tuple[System, ...]:
    wanted = [name.strip() for name in text.split(",")]
    _refuse_unknown(wanted, {system.name for system in LATENCY_SYSTEMS})
    return tuple(system for system in LATENCY_SYSTEMS if system.name in wanted)


def chosen_inputs(text: str) -> tuple[Input, ...]:
    """Parse a comma-separated list of input names."""
    wanted = [name.strip() for name in text.split(",")]
    _refuse_unknown(wanted, set(INPUTS))
    return tuple(INPUTS[name] for name in wanted)


def say(line: str) -> None:
    """Print a progress line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _refuse_unknown(wanted: Sequence[str], known: set[str]) -> None:
    for name in wanted:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown name {name!r}: choose from {', '.join(sorted(known))}")


def _numbers(text: str) -> list[int]:
    return [_positive(number.strip()) for number in text.split(",")]


def _cases(text: str) -> list[tuple[int, int]]:
    cases = []
    for case in text.split(","):
        count, _, workers = case.partition("/")
        cases.append((_positive(count.strip()), _positive(workers.strip())))
    return cases


def _changes(text: str) -> set[str]:
    wanted = [name.strip() for name in text.split(",")]
    _refuse_unknown(wanted, set(partitions.CHANGES))
    if "leave" in wanted and "join" not in wanted:
        raise argparse.ArgumentTypeError("'leave' needs 'join': only the worker that joined leaves")
    return {"start", *wanted}


def _count(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


if __name__ == "__main__":
    with no_process_left():
        code = main()
    sys.exit(code)
