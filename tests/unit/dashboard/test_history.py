"""Goal: a worker remembers what its page shows, and its rules find what they are for, and nothing else.

Method: figures and a clock that the test sets.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted

from streams.runtime.stats import SECONDS_BOUNDS
from streams.runtime.web.dashboard import history as histories
from streams.runtime.web.dashboard.history import STEPS, History, quantile
from streams.runtime.web.dashboard.rings import MINUTES, SECONDS, SECONDS_A_POINT
from streams.runtime.web.rules import AWAY_S, Figures
from tables.views.rules import ORDER_RULES
from tests.unit.dashboard.snapshots import HEALTHY, NO_OUTPUTS, figures

SLOW = (*NO_OUTPUTS[:-1], 6)
FAST_AND_SLOW = (*NO_OUTPUTS[:4], 200, *NO_OUTPUTS[5:-1], 6)

CASES: Any = [
    ("PartitionNotRunning", {"not_running": {"order_state/1": "waiting KafkaError()"}}, 62),
    ("Behind", {"lag_s": {"orders/1": 61.0}, "turns": 99}, 2),
    ("NoCommit", {"lag_s": {"orders/1": 1.0}}, 135),
    ("OrdersLate", {"visible": SLOW}, 62),
    ("DeadLettersGrow", {"dead_letters": 1}, 2),
    ("ServerAway", {"away_s": {"guard": 11.0}}, 2),
    ("SourceHeldUp", {"held_up_s": 11.0}, 2),
    ("KafkaUnanswered", {"unanswered_s": 31.0}, 32),
    ("OrdersOverdue", {"events": {"orders.overdue": 1}}, 2),
    ("OrdersHeld", {"events": {"incomplete.held_by_another_deployment": 1}}, 302),
    ("ConnectorDown", {"events": {"connector.failed": 1}}, 62),
    ("ConnectorDown", {"events": {"connector.unanswered": 1}}, 62),
    ("LakeDifferent", {"events": {"lake.tables_different": 2}}, 2),
    ("LakeStale", {"events": {"lake.tables_stale": 2}}, 2),
    ("EmittedTwice", {"events": {"guard.emitted_twice": 1}}, 2),
]


class Watched:
    """A history of figures that change when the test says so."""

    def __init__(self) -> None:
        self.figures = HEALTHY
        self.published = 0
        self.now = 1_000.0

        async def look() -> Figures:
            return self.figures

        self.history = History(look=look, published=lambda: self.published, rules=ORDER_RULES, clock=lambda: self.now)

    async def after(self, seconds: float, **changed: Any) -> list[str]:
        """Let time pass, with a look every second; return the names of the alerts then."""
        self.figures = figures(**changed)
        for _ in range(int(seconds)):
            self.now += 1
            await self.history.look()
        return [alert["rule"] for alert in self.history.alerts()]


@pytest.fixture
def watched() -> Watched:
    return Watched()


async def test_nothing_is_found_at_a_healthy_worker(watched: Watched) -> None:
    assert await watched.after(1_000) == []


@pytest.mark.parametrize(("rule", "changed", "after_s"), CASES)
async def test_each_rule_is_found_alone_and_is_over_when_its_condition_is(
    watched: Watched, rule: str, changed: dict[str, Any], after_s: int
) -> None:
    assert await watched.after(5) == []
    assert await watched.after(after_s, **changed) == [rule]
    calm = {name: value for name, value in changed.items() if name in ("dead_letters", "events", "visible", "turns")}
    calm.pop("events", None) if rule in ("ConnectorDown", "OrdersHeld", "LakeDifferent", "LakeStale") else None
    assert await watched.after(1_000, **calm) == []


async def test_the_verdict_about_a_connector_names_the_part_that_fails(watched: Watched) -> None:
    events = {"connector.failed": 1, "connector.unanswered": 1}
    failed = {"events": events, "texts": {"connector.failure": "task 0 is failed, Access denied"}}
    assert await watched.after(62, **failed) == ["ConnectorDown"]
    [alert] = watched.history.alerts()
    assert alert["found"] == "1 part of the connector does not run: task 0 is failed, Access denied"


async def test_the_verdict_about_dead_letters_names_the_newest_reason(watched: Watched) -> None:
    letters = {"dead_letters": 2, "texts": {"letters.newest": "JSON is malformed: invalid character (byte n)"}}
    assert await watched.after(2, **letters) == ["DeadLettersGrow"]
    [alert] = watched.history.alerts()
    why = "the newest one: JSON is malformed: invalid character (byte n)"
    assert alert["found"] == f"2 dead letters in 10 minutes, {why}"


async def test_a_rule_waits_as_long_as_its_alert(watched: Watched) -> None:
    stopped = {"not_running": {"order_state/1": "opening"}}
    assert await watched.after(55, **stopped) == []
    assert await watched.after(2) == []
    assert await watched.after(55, **stopped) == [], "it counts from its newest beginning"


async def test_an_alert_began_when_the_trouble_did_not_when_it_was_worth_an_alert(watched: Watched) -> None:
    assert await watched.after(3, away_s={"guard": AWAY_S + 3}) == ["ServerAway"]
    [alert] = watched.history.alerts()
    assert alert["since"] == pytest.approx(time.time() - AWAY_S - 2, abs=2)


async def test_a_partition_that_catches_up_is_not_behind(watched: Watched) -> None:
    assert await watched.after(1, lag_s={"orders/1": 600.0}) == ["Behind"]
    for seconds in range(590, 400, -10):
        alerts = await watched.after(10, lag_s={"orders/1": float(seconds)}, turns=1_000 - seconds)
    assert alerts == []


async def test_few_late_outputs_are_within_the_promise(watched: Watched) -> None:
    assert await watched.after(120, visible=FAST_AND_SLOW) == []


def test_every_rule_that_a_worker_can_see_is_tried_above() -> None:
    assert {rule for rule, _, _ in CASES} == {rule.name for rule in ORDER_RULES if rule.find is not None}


async def test_rates_are_those_of_now_a_quarter_of_an_hour_and_a_day(watched: Watched) -> None:
    assert watched.history.rates() == {"now": 0.0, "quarter_hour": 0.0, "day": 0.0, "records": 0.0}
    await watched.after(1_800)
    for _ in range(20):
        watched.published += 30
        await watched.after(1)
    rates = watched.history.rates()
    assert rates["now"] == pytest.approx(30, rel=0.1)
    assert rates["quarter_hour"] == pytest.approx(600 / 900, rel=0.05)
    assert rates["day"] == pytest.approx(600 / 1_820, rel=0.05)


@pytest.mark.parametrize("error", [KafkaError("revoked"), ConsumerNotStarted(), TimeoutError()], ids=repr)
async def test_a_look_that_fails_ends_neither_the_watch_nor_the_worker(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "LOOK_S", 0.0)
    looks, enough = 0, asyncio.Event()

    async def look() -> Figures:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise error
        enough.set()
        return HEALTHY

    history = History(look=look, published=lambda: 0, rules=ORDER_RULES)
    async with history:
        await asyncio.wait_for(enough.wait(), 20)
    assert not history.crashed


async def test_what_is_remembered_is_bounded(watched: Watched) -> None:
    await watched.after(1_200)
    assert len(watched.history._steps) == STEPS
    assert watched.history._minutes.maxlen == MINUTES
    assert len(watched.history.memory()["quarter_hour"]["rate"]) == SECONDS
    assert len(watched.history.series()["rate"]) == SECONDS / SECONDS_A_POINT + 1, "the last point is not whole yet"


async def test_a_second_and_a_minute_have_the_speed_that_they_had(watched: Watched) -> None:
    for number in range(1, 122):
        watched.published += number % 2
        await watched.after(1)
    memory = watched.history.memory()
    assert (memory["quarter_hour"]["step_s"], memory["day"]["step_s"]) == (1, 60)
    assert memory["quarter_hour"]["rate"][-4:] == [0.0, 1.0, 0.0, 1.0]
    assert memory["day"]["rate"] == [0.5, 0.5]


async def test_a_young_worker_shows_everything_since_its_start(watched: Watched) -> None:
    await watched.after(3, visible=SLOW)
    assert watched.history.visible() == {"quarter_hour": [*SLOW], "day": [*SLOW]}
    await watched.after(1_000, visible=SLOW)
    assert watched.history.visible() == {"quarter_hour": [*NO_OUTPUTS], "day": [*SLOW]}


def test_a_quantile_lies_in_its_bucket() -> None:
    assert quantile(NO_OUTPUTS, 0.5) is None
    counts = [0, 0, 0, 100, *NO_OUTPUTS[4:]]
    assert SECONDS_BOUNDS[2] < (quantile(counts, 0.5) or 0) < SECONDS_BOUNDS[3]
    assert quantile(SLOW, 0.99) == SECONDS_BOUNDS[-1], "above the last bound, no more is known"
