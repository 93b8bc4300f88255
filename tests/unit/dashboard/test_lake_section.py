"""Goal: the page tells what the batch jobs have recorded about the lake, and its verdict obeys the last comparison.

Method: the batch jobs' own record, written to a fake Redis, is read by the worker's service.
"""

from __future__ import annotations

import re
import time
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


def fresh(redis: Redis, began_at: float, *failed: str, every_s: float | None = 10.0) -> None:
    tables = [TableRun(layer="gold", table=name, error="x" if name in failed else None) for name in ("a", "b")]
    silver = TableRun(layer="silver", table="a")
    JobRecord(redis.written, "shop", print).fresh(began_at, [silver, *tables], every_s=every_s)


async def ages(redis: Redis, gold: tuple[str, ...] = ("a", "b")) -> dict[str, Any]:
    records = LakeRecords(redis, "shop", gold=gold)
    await records.ask()
    return records.figures()


async def test_each_gold_table_has_its_age_against_the_interval_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOON + 95)
    redis = Redis()
    fresh(redis, NOON)
    fresh(redis, NOON + 90, "b")
    text = shown(lake=await ages(redis, ("a", "b", "c")))["lake"]
    assert "Gold table c not built yet – a run every 10 s Gold table b stale 12:00:00 UTC 1 min old" in text
    assert "Gold table a fresh 12:01:30 UTC 5 s old; a run every 10 s" in text
    found = (await ages(redis))["tables_stale"]
    assert found == 1, "which the rule LakeStale looks at"
    redis.written.hashes["batch_freshness:shop"]["every_s"] = "30"
    assert (await ages(redis))["tables_stale"] == 0


async def test_without_a_service_an_old_table_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOON + 3_600)
    redis = Redis()
    fresh(redis, NOON)
    assert (await ages(redis))["tables_stale"] == 2
    JobRecord(redis.written, "shop", print).fresh(NOON + 5)  # the service ends
    found = await ages(redis)
    assert found["tables_stale"] == 0
    assert "Gold table a – 12:00:00 UTC 1 h 0 min old; no service runs" in shown(lake=found)["lake"]


async def test_of_many_gold_tables_the_oldest_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOON + 60)
    redis, names = Redis(), tuple(f"t{n:02}" for n in range(40))
    record = JobRecord(redis.written, "shop", print)
    for n, name in enumerate(names):
        record.fresh(NOON + n, [TableRun(layer="gold", table=name)], every_s=10)
    text = shown(lake=await ages(redis, names))["lake"]
    assert "Gold table t07" in text
    assert "Gold table t08" not in text
    assert "32 more Gold tables, none older" in text


@pytest.mark.parametrize("spoilt", [{"every_s": "10"}, {"fresh_at": "[]"}, {"fresh_at": '{"gold/a": "x"}'}])
async def test_a_freshness_that_is_none_leaves_the_former_one_and_the_next_run_mends_it(
    spoilt: dict[str, str],
) -> None:
    redis = Redis()
    records = LakeRecords(redis, "shop", gold=("a", "b"))
    fresh(redis, NOON)
    await records.ask()
    before = records.figures()
    redis.written.hashes["batch_freshness:shop"] = spoilt
    await records.ask()
    assert records.figures() == before
    fresh(redis, NOON + 1)
    await records.ask()
    assert records.figures() != before


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
