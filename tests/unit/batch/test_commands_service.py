"""Goal: only one run at a time works on a dataset, and a service continues until it is stopped.

Method: a fake Redis; runs that are plain functions.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from batch.__main__ import parser
from batch.errors import BatchError, SparkEndedError
from batch.pipeline import lease as lease_module
from batch.pipeline import service as service_module
from batch.pipeline.lease import Lease
from batch.pipeline.manifest import Manifest, TableRun
from batch.pipeline.runner import Outcome
from batch.pipeline.service import PAUSE_S_MAX, pause_s, serve
from tests.support.background import in_background
from tests.support.lake.fake_redis import FakeRedis

KEY = "batch_lease:project_db"
LIVENESS_S = 20.0


def lease(redis: FakeRedis, printed: list[str]) -> Lease:
    return Lease(redis, "project_db", printed.append)


def outcome(error: str | None = None) -> Outcome:
    now = datetime.now(UTC)
    tables = [TableRun(layer="bronze", table="orders", error=error)]
    manifest = Manifest(run_id="r", dataset="d", started_at=now, ended_at=now, tables=tables, versions={})
    return Outcome(manifest=manifest, is_new=True)


def test_a_lease_is_held_and_given_back() -> None:
    redis = FakeRedis()
    with lease(redis, []).hold(wait=False):
        assert KEY in redis.texts
    assert redis.texts == {}


def test_a_second_run_fails_with_the_name_of_the_holder() -> None:
    redis = FakeRedis()
    with (
        lease(redis, []).hold(wait=False),
        pytest.raises(BatchError, match=r"project_db .*\(process \d+ on .*--wait"),
        lease(redis, []).hold(wait=False),
    ):
        pass
    assert redis.texts == {}


def test_a_second_run_waits_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "ASK_AGAIN_S", 0.01)
    redis, printed, order = FakeRedis(), list[str](), list[str]()
    waiting = threading.Event()

    def say(line: str) -> None:
        printed.append(line)
        waiting.set()

    def second(stop: threading.Event) -> None:
        with Lease(redis, "project_db", say).hold(wait=True):
            order.append("second")

    with lease(redis, []).hold(wait=False):
        background = in_background(second, "second")
        background.__enter__()
        assert waiting.wait(LIVENESS_S)
        order.append("first")
    background.__exit__(None, None, None)
    assert order == ["first", "second"]
    assert len(printed) == 1
    assert "project_db" in printed[0]


def test_waiting_ends_when_the_service_is_stopped() -> None:
    redis, stop = FakeRedis(), threading.Event()
    stop.set()
    with (
        lease(redis, []).hold(wait=False),
        pytest.raises(BatchError, match="project_db"),
        lease(redis, []).hold(wait=True, stop=stop),
    ):
        pass


def test_a_run_goes_on_without_a_lease_when_redis_is_away() -> None:
    redis, printed = FakeRedis(), list[str]()
    redis.is_away = True
    with lease(redis, printed).hold(wait=False):
        pass
    assert len(printed) == 1
    assert printed[0].startswith("warning: ")


def test_a_lease_is_renewed_and_its_loss_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.01)
    redis = FakeRedis()
    with lease(redis, []).hold(wait=False):
        del redis.texts[KEY]  # as if it had run out
        before = redis.calls
        while redis.calls < before + 3:
            threading.Event().wait(0.01)
        assert KEY in redis.texts
        other = redis.texts[KEY] = '{"token": "x", "holder": "another", "since": "now"}'
        while redis.calls < before + 6:
            threading.Event().wait(0.01)
    assert redis.texts[KEY] == other, "another's lease is left alone"


def test_a_service_continues_after_errors_and_ends_after_the_run_in_which_it_is_stopped() -> None:
    stop, printed, runs = threading.Event(), list[str](), list[int]()

    def run() -> Outcome:
        runs.append(len(runs))
        if len(runs) == 1:
            raise BatchError("the storage is away")
        if len(runs) == 2:
            return outcome("broken")
        stop.set()
        return outcome()

    serve(run, every_s=0.001, stop=stop, say=printed.append)
    assert runs == [0, 1, 2]
    assert printed == ["the storage is away"]


def test_a_table_that_fails_does_not_slow_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, seen, runs = threading.Event(), list[int](), list[int]()

    def paused(every_s: float, *, failures: int, took_s: float) -> float:
        seen.append(failures)
        return 0.0

    def run() -> Outcome:
        runs.append(len(runs))
        if len(runs) == 3:
            stop.set()
        return outcome("broken")

    monkeypatch.setattr(service_module, "pause_s", paused)
    serve(run, every_s=10, stop=stop, say=print)
    assert seen == [0, 0, 0]


def test_a_service_whose_spark_has_ended_ends_too() -> None:
    def run() -> Outcome:
        raise SparkEndedError("Spark has ended")

    with pytest.raises(SparkEndedError):
        serve(run, every_s=0.001, stop=threading.Event(), say=print)


def test_the_pause_fills_the_interval_and_grows_with_failures() -> None:
    assert pause_s(10, failures=0, took_s=4) == 6
    assert pause_s(10, failures=0, took_s=40) == 0
    assert [pause_s(10, failures=n, took_s=1) for n in (1, 2, 3)] == [20, 40, 80]
    assert pause_s(10, failures=99, took_s=1) == PAUSE_S_MAX
    assert pause_s(3_600, failures=3, took_s=1) == 3_600


def test_every_works_without_a_value() -> None:
    asked = parser().parse_args(["run", "--every"])
    assert asked.every is not None
    assert asked.every != parser().parse_args(["run", "--every", "60"]).every
