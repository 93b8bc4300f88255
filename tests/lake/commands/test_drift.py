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
from ops.connector.source_columns import Difference
from tests.support.lake.drift_testbed import FEEDS, JDBC, DriftTestbed, drift_testbed, letters
from tests.support.lake.drifting_tables import CHANGES, GOES_ON, NAME, STOPS, WARNS, Change, rows_after

# On every push, tests of each layer's own drift, and test_docs, which compares the documents with `CHANGES`.
pytestmark = pytest.mark.nightly


@pytest.fixture(params=["mysql", "postgres"])
def testbed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DriftTestbed]:
    """A captured database with rows, which the lakes have; of the feed `jdbc`, only Bronze is special."""
    with drift_testbed(request.param, tmp_path) as testbed:
        testbed.lake(NAME, "run", "--layer", "bronze")
        testbed.lake(NAME, "run", "--layer", "silver")
        testbed.lake(JDBC, "run", "--layer", "bronze")
        yield testbed


def test_each_part_goes_on_warns_or_stops_and_nothing_is_lost(
    testbed: DriftTestbed, capsys: pytest.CaptureFixture[str]
) -> None:
    for change in CHANGES:
        testbed.change(change.statement(testbed.engine), *rows_after(change))
    testbed.until_arrived()
    testbed.lake(NAME, "run", codes=(1,))
    testbed.lake(JDBC, "run", "--layer", "bronze", codes=(1,))
    observed = observed_cells(testbed, capsys)
    print(observed)
    shown = testbed.lake(NAME, "show", "nullable_added", "--limit", "1").text
    follow(testbed)
    verdicts = []
    for name in FEEDS:
        testbed.lake(name, "run")
        verdicts.append(testbed.lake(name, "reconcile", codes=(0, 1, 2)).text)
        print(verdicts[-1])
    lost = [change.table for change in CHANGES if testbed.warehouse_rows_of(change) != testbed.source_rows_of(change)]
    assert observed == {change.table: tuple(change.cells[1:]) for change in CHANGES}
    assert "extra" in shown, "`lake show` says so too"
    assert ["verdict: equal" in text for text in verdicts] == [True, True]
    assert lost == [], "the warehouse has the source's rows"
    assert testbed.differences() == []
    assert (testbed.warehouse.stats() or {})["drift"] == {}


def observed_cells(testbed: DriftTestbed, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, ...]]:
    """What each part was seen to do with each table, without the orders."""
    changes, jdbc = testbed.outcomes(NAME), testbed.outcomes(JDBC)
    found, dead = testbed.differences(), letters(capsys)
    stats = testbed.warehouse.stats() or {}
    return {
        change.table: (
            of_connector([each for each in found if each.table == change.table], changes[f"bronze/{change.table}"]),
            of_warehouse(change, stats, dead),
            of_table(changes[f"bronze/{change.table}"]),
            of_table(jdbc[f"bronze/{change.table}"]),
            of_table(changes[f"silver/{change.table}"]),
            of_table(changes[f"gold/gold_{change.table}"]),
        )
        for change in CHANGES
    }


def of_connector(found: list[Difference], bronze: TableRun) -> str:
    """What arrives, and what `connector status` and `connector watch` say."""
    if bronze.unchanged:  # nothing has arrived
        assert [each.is_wrong for each in found] == [True], "nothing is silent"
        return STOPS
    return WARNS if found else GOES_ON


def of_warehouse(change: Change, stats: Mapping[str, Any], dead: list[dict[str, Any]]) -> str:
    """What the worker says of the table in its log and in `/stats/`, and what became a dead letter."""
    states = [each["state"] for name, each in stats["partitions"].items() if name.startswith(f"{change.table}/")]
    if set(states) != {"running"}:
        return STOPS
    is_dead = any(letter["origin"]["topic"].endswith(f".{change.table}") for letter in dead)
    return WARNS if is_dead or change.table in stats["drift"] else GOES_ON


def of_table(outcome: TableRun) -> str:
    """What a run says of a table; a table that depends on one that failed has stopped with it."""
    if outcome.error is not None or outcome.behind:
        return STOPS
    return WARNS if outcome.drift or outcome.rejected else GOES_ON


def follow(testbed: DriftTestbed) -> None:
    """Let the definition follow the source, with the commands of the documents."""
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
