"""The rows of the lake in the table of faults, by the numbers of the reliability plan, and the mutants they catch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.faults.lake import commit_faults, run_faults, storage_faults
from tests.faults.lake.scenario import LakeScenario
from tests.faults.row import FaultRow
from tests.faults.scenario import Dose

LAKE_TABLE: Final[Mapping[str, FaultRow[LakeScenario]]] = {
    "13": FaultRow("SIGKILL a run in each layer", run_faults.kill, Dose(1), Dose(3)),
    "13t": FaultRow("two runs at once", run_faults.two_at_once, Dose(1), Dose(3)),
    "13f": FaultRow("SIGSTOP a run past its lease, then CONT", run_faults.freeze, Dose(2), Dose(6)),
    "13w": FaultRow("three writers of one table", commit_faults.write_together, Dose(1), Dose(1)),
    "13a": FaultRow("commits whose answers are lost", commit_faults.lose_answers, Dose(1), Dose(3)),
    "14": FaultRow("MinIO SIGKILL in a write", storage_faults.kill_storage, Dose(1), Dose(3)),
    "14d": FaultRow("no space on MinIO's disk", storage_faults.fill_storage, Dose(1), Dose(3)),
}


@dataclass(frozen=True)
class LakeMutant:
    """The row that has to notice what `program.py` takes out, and by which of its invariants."""

    row: str
    caught_by: frozenset[str]


LAKE_MUTANTS: Final[Mapping[str, LakeMutant]] = {
    "progress_alone": LakeMutant("13", frozenset({"I1", "I7"})),
    "no_numbers": LakeMutant("13f", frozenset({"I2"})),
    "default_log_store": LakeMutant("13w", frozenset({"commits"})),
}
