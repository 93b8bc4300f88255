"""Goal: the report has the result of each row as text and JSON, and the options choose the rows.

Method: results written by hand, arguments as `make faults` gives them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.__main__ import chosen
from tests.faults.lake.program import SAFEGUARDS
from tests.faults.lake.table import LAKE_MUTANTS, LAKE_TABLE
from tests.faults.mutants import MUTANTS
from tests.faults.result import Result
from tests.faults.sinks.program import MUTANTS as SINK_PROGRAMS
from tests.faults.sinks.table import SINK_MUTANTS, SINK_TABLE
from tests.faults.source.table import SOURCE_MUTANTS, SOURCE_TABLE
from tests.faults.table import STATE_MACHINE, TABLE

PASSED = Result(row="1", fault="SIGKILL", dose="quick", seed=7, lost=0, twice=0, invariants={"I1": True}, passed=True)
CAUGHT = Result(
    row="4",
    fault="SIGSTOP",
    dose="quick",
    seed=7,
    mutant="no_fencing",
    lost=0,
    twice=3,
    invariants={"I1": True, "I2": False},
    passed=True,
)


def test_the_report_has_an_object_for_each_row(tmp_path: Path) -> None:
    report.write([PASSED, CAUGHT], tmp_path / "new" / "report.json")
    first, second = json.loads((tmp_path / "new" / "report.json").read_text())
    wanted = {"fault", "dose", "seed", "lost", "twice", "invariants", "first_progress_s", "lag_zero_s", "passed"}
    assert wanted <= first.keys()
    assert "mutant" not in first
    assert second["mutant"] == "no_fencing"


def test_the_table_names_what_is_broken() -> None:
    head, first, second = report.lines([PASSED, CAUGHT])
    assert head.startswith("row")
    assert first.endswith("passed")
    assert "I2" in second
    assert second.endswith("caught")


def test_without_a_choice_everything_is_played_mutants_included() -> None:
    rows = chosen("")
    every = {*TABLE, STATE_MACHINE, *LAKE_TABLE, *SOURCE_TABLE, *SINK_TABLE}
    assert {row for row, mutant in rows if mutant is None} == every
    mutants = {mutant for _, mutant in rows if mutant is not None}
    assert mutants == {*MUTANTS, *LAKE_MUTANTS, *SOURCE_MUTANTS, *SINK_MUTANTS}


def test_rows_and_mutants_are_chosen_by_name() -> None:
    assert chosen("4, 1,no_fencing") == [("4", None), ("1", None), ("4", "no_fencing")]
    with pytest.raises(KeyError):
        chosen("99")


def test_each_mutant_has_a_row_that_is_in_the_table() -> None:
    assert {mutant.row for mutant in MUTANTS.values()} <= {*TABLE}
    assert {mutant.row for mutant in LAKE_MUTANTS.values()} <= {*LAKE_TABLE}
    assert {*LAKE_MUTANTS} | {"none"} == {*SAFEGUARDS}
    assert {*SINK_MUTANTS.values()} <= {*SINK_TABLE}
    assert {*SINK_MUTANTS} | {"none"} == {*SINK_PROGRAMS}
