"""Goal: a person can see what happened to one order: each change that was folded, the guard's answer, what it led to.

Method: the agents in their test contexts, whose completion remembers events; and turns made by hand for the offsets.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from streams.model.published import AmendedOrder, CompleteOrder
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.turn import Turn
from streams.topics import ORDER_AMENDED, ORDER_FINAL
from tables import order_events
from tables.order_events import OrderEvents
from tables.views.people import order_page
from tests.agents.feeding import agents_with, line_at, order_at
from tests.support.fakes import TALLY_CODEC

NOON = 1_767_268_800.0


class Clock:
    """Seconds that a test adds up."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        self.now += 1
        return self.now


async def events_of_an_order() -> dict[str, Any]:
    """An order of two products that is complete with its third change, and amended by a fourth."""
    events = OrderEvents(Clock())
    async with agents_with(events=events) as agents:
        await agents.orders(order_at(10, num_products=2))
        await agents.details(line_at(20, 7), line_at(30, 8))
        await agents.details(line_at(40, 9))
    return events.of("order-1")


async def test_an_order_has_each_change_the_guards_answer_and_what_was_published() -> None:
    found = await events_of_an_order()
    assert [event["what"] for event in found["list"]] == [
        "folded", "folded", "folded", "guard: acquired", "published", "folded", "amended, revision 1",
    ]  # fmt: skip
    changes = [event for event in found["list"] if event["what"] == "folded"]
    assert [event["position"][2] for event in changes] == [10, 20, 30, 40]
    assert "num_products 2" in changes[0]["details"]
    assert changes[1]["details"].startswith("product_id 7, quantity")
    assert [event["at"] for event in found["list"]] == sorted(event["at"] for event in found["list"])


async def test_another_order_has_none_of_these_events() -> None:
    events = OrderEvents(Clock())
    async with agents_with(events=events) as agents:
        await agents.orders(order_at(10))
    assert events.of("order-2")["list"] == []


async def test_the_page_shows_the_events_with_the_places_of_the_changes() -> None:
    view = {**VIEW, "events": await events_of_an_order()}
    text = " ".join(re.sub(r"<[^>]*>", " ", order_page("order-1", view)).split())
    assert "claimed (guard: acquired)" in text
    assert re.search(r"2026-01-01 12:00:\d\d.000 folded \S*order_details/0/1 0 / 3 / 30 / 0 ", text)
    assert "all of them since 2026-01-01 12:00:01.000" in text


def test_a_worker_that_remembers_nothing_yet_and_one_that_cannot_say_are_told_apart() -> None:
    assert "What happened" in order_page("order-1", {**VIEW, "events": OrderEvents(Clock()).of("order-1")})
    assert "a version that does not say" in order_page("order-1", VIEW)


def test_an_order_whose_partition_moves_is_said_to_and_not_to_be_wrong() -> None:
    page = order_page("order-1", {"error": "the partition is not open <yet>"}, is_moving=True)
    assert "Moves to another worker" in page
    assert "Cannot tell" not in page
    assert "not open &lt;yet&gt;" in page


def turn_with(*outcomes: Any, **written: int) -> Turn:
    turn = Turn(lambda key: None, TALLY_CODEC, lambda record, reason: OutputRecord("dead", None, None))
    turn.outcomes = [*outcomes]
    turn.written = written
    return turn


def outcome_of(kind: type[Any], order_id: str, **more: Any) -> Any:
    """An outcome with these fields only; a struct does not check its values."""
    return kind(**{**dict.fromkeys(kind.__struct_fields__), "order_id": order_id, **more})


def complete(order_id: str) -> Any:
    return outcome_of(CompleteOrder, order_id)


def test_a_published_record_has_the_offset_that_kafka_gave_it() -> None:
    events = OrderEvents(Clock())
    amended = outcome_of(AmendedOrder, "b", revision=3)
    turn = turn_with(complete("a"), amended, complete("b"), complete("c"), order_final=12, order_amended=4)
    events.committed(turn, [ORDER_FINAL, ORDER_AMENDED, ORDER_FINAL, ORDER_FINAL], 5)
    places = {name: [event["place"] for event in events.of(name)["list"]] for name in "abc"}
    assert places == {
        "a": [["order_final", 5, 10]],
        "b": [["order_amended", 5, 4], ["order_final", 5, 11]],
        "c": [["order_final", 5, 12]],
    }


def test_events_are_bounded_and_say_since_when_they_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_events, "MOST_EVENTS", 10)
    events = OrderEvents(Clock())
    for number in range(50):
        events.answered([f"order-{number}"], ["acquired"])
    assert events.of("order-39")["list"] == []
    [newest] = events.of("order-40")["list"]
    assert events.of("order-40")["since"] == newest["at"] - 1


async def test_changes_are_bounded_and_say_since_when_they_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_events, "MOST_CHANGES", 3)
    events = OrderEvents(Clock())
    async with agents_with(events=events) as agents:
        for pos in range(10, 90, 10):
            await agents.details(line_at(pos, pos))
    found = events.of("order-1")
    assert [event["position"][2] for event in found["list"]] == [60, 70, 80]
    assert found["since"] < found["list"][0]["at"] <= found["since"] + 2


async def test_a_change_says_what_it_changed_and_what_became_of_it() -> None:
    events = OrderEvents(Clock())
    row = {"num_products": 2}
    async with agents_with(events=events) as agents:
        await agents.orders(order_at(10, **row))
        await agents.orders(order_at(30, num_products=3), order_at(30, num_products=3), order_at(20, num_products=9))
        await agents.orders(order_at(40, num_products=0))
        await agents.orders(order_at(50, num_products=4))
    found = events.of("order-1")["list"]
    assert [event["what"] for event in found] == [
        "folded", "folded", "left out, as it is a repetition", "left out, as it is older", "refused, a dead letter",
        "folded",
    ]  # fmt: skip
    assert "num_products 2," in found[0]["details"]
    assert "num_products 2 → 3," in found[1]["details"]
    assert "→" not in "".join(event["details"] for event in found[2:5])
    assert "num_products 3 → 4," in found[5]["details"]


VIEW: dict[str, Any] = {
    "order_id": "order-1",
    "status": "complete",
    "emission": "emitted",
    "revision": 1,
    "held": False,
    "row": None,
    "lines": [],
    "products_missing": 0,
}
