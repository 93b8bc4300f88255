"""Goal: the benchmark takes the seconds of a cycle from the line that the service prints, whatever the service prints.

Method: `batch.pipeline.report.print_line` writes the lines.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from batch.pipeline.manifest import Manifest, TableRun
from batch.pipeline.report import print_line
from bench.lake.service import Cycle, cycles_in

BEGAN = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def line(*tables: TableRun, is_new: bool = True) -> str:
    said: list[str] = []
    manifest = Manifest(
        run_id="20261122T120000Z-abc",
        dataset="shop",
        started_at=BEGAN,
        ended_at=BEGAN + timedelta(seconds=61.25),
        tables=list(tables),
        versions={},
    )
    print_line(manifest, said.append, is_new=is_new)
    return "\n".join(said)


def test_cycles_that_wrote_are_told_and_others_are_not() -> None:
    wrote = line(TableRun(layer="gold", table="dim_x", rows_written=12_345))
    failed = line(TableRun(layer="gold", table="dim_x", error="no room"))
    text = "\n".join(
        ["running every 5 s until SIGTERM", line(is_new=False), "  gold/dim_x  12,345 rows", wrote, failed]
    )
    run_id = "20261122T120000Z-abc"
    assert cycles_in(text) == [
        Cycle(run_id=run_id, state="done", seconds=61.2),
        Cycle(run_id=run_id, state="failed", seconds=61.2),
    ]


def test_of_a_log_without_cycles_there_are_none() -> None:
    assert cycles_in("running every 5 s until SIGTERM\n") == []
