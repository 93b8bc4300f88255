"""python -m tests.faults [--rows 1,4] [--dose quick|full] [--seed N] [--set NAME=VALUE]: run the faults, and report."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from tests.faults import report, state_machine
from tests.faults.lake.run import play_lake
from tests.faults.lake.table import LAKE_MUTANTS, LAKE_TABLE
from tests.faults.lake.testbed import LakeFaultTestbed
from tests.faults.mutants import MUTANTS
from tests.faults.result import Result
from tests.faults.run import play
from tests.faults.sinks.run import play_sink
from tests.faults.sinks.table import SINK_MUTANTS, SINK_TABLE
from tests.faults.sinks.testbed import SinkFaultTestbed
from tests.faults.source.run import play_source
from tests.faults.source.table import SOURCE_MUTANTS, SOURCE_TABLE
from tests.faults.source.testbed import SourceFaultTestbed
from tests.faults.table import STATE_MACHINE, TABLE
from tests.faults.testbed import ClusterTestbed, FaultTestbed

Task = tuple[str, str | None]
"""A row, and the mutant that is to fail in it."""

EVERYTHING: Final = (*TABLE, STATE_MACHINE, *LAKE_TABLE, *SOURCE_TABLE, *SINK_TABLE, "mutants")
ROW_OF_MUTANT: Final[Mapping[str, str]] = {
    **{name: mutant.row for mutants in (MUTANTS, LAKE_MUTANTS) for name, mutant in mutants.items()},
    **SOURCE_MUTANTS,
    **SINK_MUTANTS,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen rows; returns exit code 0 if all passed."""
    asked = _parse(arguments)
    FaultTestbed.worker_settings = dict(setting.split("=", 1) for setting in asked.set)
    seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    began = time.monotonic()
    say(f"dose {asked.dose}, seed {seed}: repeat it with make faults DOSE={asked.dose} SEED={seed}")
    results: list[Result] = []
    for result in _results(asked.tasks, asked.dose, seed):
        results.append(result)
        report.write(results)
        say(report.line(result))
    print("\n".join(["", *report.lines(results)]))
    passed = all(result.passed for result in results)
    print(f"\n{'PASSED' if passed else 'FAILED'} after {time.monotonic() - began:.0f} s, seed {seed}; {report.REPORT}")
    return 0 if passed else 1


def _results(tasks: Sequence[Task], dose: str, seed: int) -> Iterator[Result]:
    """Yield one result after the other, with new servers after a result that has spoilt them."""
    waiting = deque(tasks)
    while waiting:
        opened, play_on = _players(waiting[0][0])
        with opened(say) as testbed:
            while waiting and _players(waiting[0][0])[0] == opened:
                row, mutant = waiting.popleft()
                result = play_on(testbed, row, dose=dose, seed=seed, mutant=mutant, say=say)
                yield result
                if _has_spoilt(result):
                    break


def _has_spoilt(result: Result) -> bool:
    """Whether the next row needs new servers: after an error, or after a mutant has written to a lake twice."""
    return result.error is not None or (result.row in LAKE_TABLE and not all(result.invariants.values()))


def _players(row: str) -> tuple[Callable[..., AbstractContextManager[Any]], Callable[..., Result]]:
    """Return the context manager of the servers that a row needs, and the function that runs it on them."""
    if row == STATE_MACHINE:
        return nullcontext, state_machine.play
    if row in LAKE_TABLE:
        return LakeFaultTestbed.opened, play_lake
    if row in SOURCE_TABLE:
        return SourceFaultTestbed.opened, play_source
    if row in SINK_TABLE:
        return SinkFaultTestbed.opened, play_sink
    return (ClusterTestbed if TABLE[row].clustered else FaultTestbed).opened, play


def say(line: str) -> None:
    """Print progress with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = ", ".join([*EVERYTHING, *ROW_OF_MUTANT])
    parser.add_argument("--rows", default="", help=f"of {names}, separated by commas; default: all")
    parser.add_argument("--dose", default="quick", choices=("quick", "full"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all workers")
    parser.add_argument("--seed", type=int, help="default: by chance, printed")
    asked = parser.parse_args(arguments)
    try:
        asked.tasks = chosen(asked.rows)
    except KeyError as name:
        parser.error(f"there is no row {name}; it is one of {names}")
    return asked


def chosen(rows: str) -> list[Task]:
    """Choose rows by comma-separated names; all rows if there are none.

    Raises:
        KeyError: a name is neither a row nor a mutant.
    """
    tasks: list[Task] = []
    for name in [name.strip() for name in rows.split(",") if name.strip()] or EVERYTHING:
        if name == "mutants":
            tasks += [(row, mutant) for mutant, row in ROW_OF_MUTANT.items()]
        elif name in EVERYTHING:
            tasks.append((name, None))
        else:
            tasks.append((ROW_OF_MUTANT[name], name))
    return tasks


if __name__ == "__main__":
    sys.exit(main())
