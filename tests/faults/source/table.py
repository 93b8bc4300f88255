"""The rows of a PostgreSQL source in the table of faults, and the mutants they catch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.faults.row import FaultRow
from tests.faults.scenario import Dose
from tests.faults.source import source_faults
from tests.faults.source.testbed import SourceScenario

SOURCE_TABLE: Final[Mapping[str, FaultRow[SourceScenario]]] = {
    "p1": FaultRow("Connect SIGKILL in a COPY of wide rows", source_faults.kill_connect_in_copy, Dose(2), Dose(20)),
    "p1r": FaultRow("task stopped and started in a COPY", source_faults.restart_task_in_copy, Dose(4), Dose(40)),
    "p2": FaultRow("PostgreSQL SIGKILL + restart", source_faults.kill_database, Dose(1), Dose(5)),
    "p3": FaultRow("slot dropped", source_faults.drop_slot, Dose(1), Dose(1)),
    "p4": FaultRow("slot advanced over a change", source_faults.advance_slot, Dose(1), Dose(1)),
    "p5": FaultRow("transaction open across the snapshot", source_faults.open_across_snapshot, Dose(1), Dose(1)),
}

SOURCE_MUTANTS: Final[Mapping[str, str]] = {"lsn_only": "p5"}
"""The row that has to notice that changes are ordered by their place in the log alone."""
