"""The rows of warehouse and live figures in the table of faults, and the mutants they catch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.faults.row import FaultRow
from tests.faults.scenario import Dose
from tests.faults.sinks import sink_faults
from tests.faults.sinks.testbed import SinkScenario

WAREHOUSE: Final = "warehouse"
FIGURES: Final = "figures"


@dataclass(frozen=True)
class SinkRow(FaultRow[SinkScenario]):
    """One fault, and which sinks it is judged by."""

    judged: frozenset[str] = frozenset({WAREHOUSE})


SINK_TABLE: Final[Mapping[str, SinkRow]] = {
    "w1": SinkRow("SIGKILL before, during, after COMMIT", sink_faults.kill_around_commit, Dose(1), Dose(10)),
    "w2": SinkRow("SIGSTOP past the session, then CONT", sink_faults.stop_past_session, Dose(1), Dose(5)),
    "w3": SinkRow("two owners of the partitions", sink_faults.take_over, Dose(5), Dose(30)),
    "w4": SinkRow("PostgreSQL SIGKILL during COMMIT", sink_faults.kill_database_in_commit, Dose(1), Dose(10)),
    "w5": SinkRow("Redis flushed, worker SIGKILL", sink_faults.flush_redis, Dose(1), Dose(5), frozenset({FIGURES})),
    "w6": SinkRow(
        "second workers join and leave",
        sink_faults.join_and_leave,
        Dose(2),
        Dose(10),
        frozenset({WAREHOUSE, FIGURES}),
    ),
    "w7": SinkRow("PostgreSQL away", sink_faults.leave_away, Dose(1, outage_s=15.0), Dose(1, outage_s=180.0)),
}

SINK_MUTANTS: Final[Mapping[str, str]] = {"rows_first": "w1", "no_fence": "w1", "no_owner": "w2"}
"""The row that has to notice the mutant: the offset is written after the rows, in a transaction of its own; older
versions win; a former owner may write."""
