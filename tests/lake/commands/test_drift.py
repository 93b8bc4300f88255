"""Goal: a table whose definition is changed in the source while everything runs does to each part what the documents
say, and once the definition has followed, nothing is lost.

Method: one database with a table for each change, captured by a connector, archived, in a warehouse, and in two lakes,
one of each feed; then the commands of docs/operate/schema-drift.md. `tests/unit/model/test_drifted_orders.py` shows the
orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from batch.pipeline.manifest import TableRun
from tests.support.lake.drift_testbed import FEEDS, JDBC, DriftTestbed, drift_testbed, letters
from tests.support.lake.drifting_tables import CHANGES, GOES_ON, NAME, STOPS, WARNS, Change, rows_after

# On every push, tests of each layer's own drift, and test_docs, which compares the documents with `CHANGES`.
pytestmark = pytest.mark.nightly


@pytest.fixture(params=["mysql", "postgres"])
def testbed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DriftTestbed]:
    """A captured database with rows, whose lakes have had a run."""
    with drift_testbed(request.param, tmp_path) as testbed:
        for name in FEEDS:
            testbed.lake(name, "run")
        yield testbed


def test_each_part_goes_on_warns_or_stops_and_nothing_is_lost(
    testbed: DriftTestbed, capsys: pytest.CaptureFixture[str]
) -> None:
    for change in CHANGES:
        testbed.change(change.statement(testbed.engine), *rows_after(change))
    testbed.until_arrived()
    for name in FEEDS:
        testbed.lake(name, "run", codes=(1,))
    observed = {change.table: cells(change, testbed, capsys) for change in CHANGES}
    print(observed)
    assert observed == {change.table: tuple(change.cells[1:]) for change in CHANGES}
    assert "extra" in testbed.lake(NAME, "show", "nullable_added", "--limit", "1").text, "`lake show` says so too"
    follow(testbed)
    for name in FEEDS:
        testbed.lake(name, "run")
        assert "verdict: equal" in testbed.lake(name, "reconcile").text
    assert testbed.differences() == []
    assert (testbed.warehouse.stats() or {})["drift"] == {}
    for change in CHANGES:
        assert testbed.warehouse_rows_of(change) == testbed.source_rows_of(change), change.table


def cells(change: Change, testbed: DriftTestbed, capsys: pytest.CaptureFixture[str]) -> tuple[str, ...]:
    """What each part was seen to do, without the orders."""
    changes, jdbc = testbed.outcomes(NAME), testbed.outcomes(JDBC)
    bronze = changes[f"bronze/{change.table}"]
    return (
        of_connector(change, testbed, bronze),
        of_warehouse(change, testbed, letters(capsys)),
        of_table(bronze),
        of_table(jdbc[f"bronze/{change.table}"]),
        of_table(changes[f"silver/{change.table}"]),
        of_table(changes[f"gold/gold_{change.table}"]),
    )


def of_connector(change: Change, testbed: DriftTestbed, bronze: TableRun) -> str:
    """What arrives, and what `connector status` and `connector watch` say."""
    found = [each for each in testbed.differences() if each.table == change.table]
    if bronze.unchanged:  # nothing has arrived
        assert [each.is_wrong for each in found] == [True], "nothing is silent"
        return STOPS
    return WARNS if found else GOES_ON


def of_warehouse(change: Change, testbed: DriftTestbed, dead: list[dict[str, Any]]) -> str:
    """What the worker says of the table in its log and in `/stats/`, and what became a dead letter."""
    stats: Mapping[str, Any] = testbed.warehouse.stats() or {}
    states = [each["state"] for name, each in stats["partitions"].items() if name.startswith(f"{change.table}/")]
    if set(states) != {"running"}:
        return STOPS
    is_dead = any(letter["topic"].endswith(f".{change.table}") for letter in dead)
    return WARNS if is_dead or change.table in stats["drift"] else GOES_ON


def of_table(outcome: TableRun) -> str:
    """What a run says of a table; a table that depends on one that failed has stopped with it."""
    if outcome.error is not None or outcome.behind:
        return STOPS
    return WARNS if outcome.drift or outcome.rejected else GOES_ON


def follow(testbed: DriftTestbed) -> None:
    """Let the definition follow the source, with the commands of the documents."""
    testbed.define(is_new=True, has_new_gold=False)
    refused = testbed.lake(NAME, "run", codes=(1, 2)).text
    assert "gold_nullable_dropped.sql" in refused, (
        "a query that names what is gone is refused before anything is written"
    )
    testbed.stop_workers()
    testbed.define(is_new=True)
    testbed.run("topics", "apply")
    testbed.run("connector", "apply")
    testbed.run("warehouse", "reset", "--table", "table_renamed", "--yes")
    testbed.run("warehouse", "apply")
    testbed.start_workers()
    testbed.run("dead-letters", "replay", "--all")
    for change in CHANGES:
        if change.is_read_again:
            testbed.run("connector", "signal", "--table", change.name, "--wait")
    testbed.run("connector", "sweep", "--table", "truncated", "--force")
    testbed.until_arrived()
