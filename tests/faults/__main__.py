"""python -m tests.faults [--rows 1,4] [--dose quick|full] [--seed N]: play the table of faults, write the report."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from tests.faults import report, state_machine
from tests.faults.ground import Ground
from tests.faults.mutants import MUTANTS
from tests.faults.run import Result, play
from tests.faults.table import STATE_MACHINE, TABLE

Task = tuple[str, str | None]
"""A row, and the mutant that is to fail in it."""

EVERYTHING: Final = (*TABLE, STATE_MACHINE, "mutants")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what was asked for; 0 if everything passed."""
    asked = _parse(arguments)
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
    """One result after the other. A row that ended in an error may have left anything behind: new servers then."""
    waiting = deque(tasks)
    while waiting:
        while waiting and waiting[0][0] == STATE_MACHINE:
            waiting.popleft()
            yield state_machine.play(dose=dose, seed=seed)
        if not waiting:
            return
        with Ground.opened(say) as ground:
            while waiting and waiting[0][0] != STATE_MACHINE:
                row, mutant = waiting.popleft()
                result = play(ground, row, dose=dose, seed=seed, mutant=mutant, say=say)
                yield result
                if result.error is not None:
                    break


def say(line: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = ", ".join([*EVERYTHING, *MUTANTS])
    parser.add_argument("--rows", default="", help=f"of {names}, separated by commas; default: all")
    parser.add_argument("--dose", default="quick", choices=("quick", "full"))
    parser.add_argument("--seed", type=int, help="default: by chance, printed")
    asked = parser.parse_args(arguments)
    try:
        asked.tasks = chosen(asked.rows)
    except KeyError as name:
        parser.error(f"there is no row {name}; it is one of {names}")
    return asked


def chosen(rows: str) -> list[Task]:
    """What to play, from names separated by commas; everything if there are none.

    Raises:
        KeyError: a name is neither a row nor a mutant.
    """
    tasks: list[Task] = []
    for name in [name.strip() for name in rows.split(",") if name.strip()] or EVERYTHING:
        if name == "mutants":
            tasks += [(mutant.row, mutant_name) for mutant_name, mutant in MUTANTS.items()]
        elif name in EVERYTHING:
            tasks.append((name, None))
        else:
            tasks.append((MUTANTS[name].row, name))
    return tasks


if __name__ == "__main__":
    sys.exit(main())
