"""Goal: the page tells what the batch jobs have recorded about the lake, and its verdict obeys the last comparison.

Method: the batch jobs' own record, written to a fake Redis, is read by the worker's service.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from batch.pipeline.job_record import Comparison, JobRecord
from batch.pipeline.manifest import TableRun
from streams.adapters.redis import RedisAwayError, Script
from streams.runtime.web.dashboard.sections import sections
from tables.views import lake
from tables.views.lake import LakeRecords, lake_section
from tables.views.rules import ORDER_RULES
from tests.support.lake.fake_redis import FakeRedis
from tests.unit.dashboard.snapshots import NOON, seen

WHEN = datetime.fromtimestamp(NOON, UTC)


class Redis:
    """What a worker asks, answered from the hashes that the batch jobs have written."""

    def __init__(self) -> None:
        self.written = FakeRedis()

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = 1.0) -> Any:
        assert script is lake.READ
        if self.written.is_away:
            raise RedisAwayError("away")
        hashes = [self.written.hashes.get(key, {}) for key in msgspec.msgpack.decode(argument)]
        return [[text.encode() for pair in fields.items() for text in pair] for fields in hashes]

    async def close(self) -> None:
        return None


async def recorded(*, error: str = "", different: tuple[str, ...] | None = None) -> dict[str, Any]:
    """What a worker knows after a run, and after a comparison if it has an outcome."""
    redis = Redis()
    record = JobRecord(redis.written, "shop", print)
    tables = [TableRun(layer="gold", table=name, rows_written=3) for name in ("a", "b")]
    record.ended("run", WHEN, state="failed" if error else "done", tables=tables, error=error)
    if different is not None:
        verdict = "different" if different else "equal"
        record.compared(Comparison(verdict=verdict, at=NOON, different=different))
    records = LakeRecords(redis, "shop")
    await records.ask()
    return records.figures()


def shown(**changed: Any) -> dict[str, str]:
    found = sections([seen(**changed)], ORDER_RULES, {"lake": lake_section})
    return {name: " ".join(re.sub(r"<[^>]*>", " ", html).split()) for name, html in found.items()}


async def test_the_last_run_and_the_last_comparison_are_shown() -> None:
    found = shown(lake=await recorded(different=()))
    assert "Last run done" in found["lake"]
    assert "6 rows written in" in found["lake"]
    assert "Last comparison with the source equal 12:00:00 UTC every table" in found["lake"]
    assert "The lake equalled the database at 12:00:00 UTC." in found["verdict"]


async def test_a_run_that_failed_shows_its_error_as_text() -> None:
    records = await recorded(error="<b>orders</b>: no column")
    assert "&lt;b&gt;orders&lt;/b&gt;: no column" in lake_section([records])
    assert "equalled" not in shown(lake=records)["verdict"]


async def test_tables_that_differ_change_the_verdict() -> None:
    records = await recorded(different=("silver/orders", "gold/fact_orders"))
    assert "different 12:00:00 UTC silver/orders, gold/fact_orders" in shown(lake=records)["lake"]
    assert records["tables_different"] == 2, "which the rule LakeDifferent looks at"


async def test_without_records_there_is_nothing_to_show() -> None:
    records = LakeRecords(Redis(), "shop")
    await records.ask()
    assert records.figures() == {}
    assert shown(lake={})["lake"] == ""


@pytest.mark.parametrize("spoilt", [{"state": "done"}, {"state": "done", "ended": "x"}, {"ended": "2026-01-01"}])
async def test_a_record_that_is_none_and_a_redis_that_is_away_leave_the_former_one(spoilt: dict[str, str]) -> None:
    redis = Redis()
    records = LakeRecords(redis, "shop")
    JobRecord(redis.written, "shop", print).compared(Comparison(verdict="equal", at=NOON, different=[]))
    await records.ask()
    before = records.figures()
    redis.written.hashes["batch_jobs:shop"] = spoilt
    await records.ask()
    redis.written.is_away = True
    await records.ask()
    assert records.figures() == before
    assert before["verdict"] == "equal"
