"""Goal: the page shows what was sold as `streams.metrics` and the lake have it, whatever Redis has under their keys.

Method: values as the sink and the batch jobs write them, from a fake Redis; `tests/streams/test_figures.py` reads them
from a real one.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from streams.adapters.redis import RedisAwayError, Script
from streams.runtime.web.dashboard.sections import sections
from tables.views import sales
from tables.views.rules import ORDER_RULES
from tables.views.sales import MINUTES, MOST_RESULTS, Sales, result_of, sales_section
from tests.unit.dashboard.snapshots import seen

SEGMENTS = [
    {"segment": "Gold", "customers": 2, "revenue": "10.50"},
    {"segment": "Silver", "customers": 3, "revenue": None},
]
PRODUCTS = [
    {"product_id": n, "category": f"c{n}", "pieces": 2, "revenue": "1.25", "class": "top" if n < 5 else "slow"}
    for n in range(20)
]


def value(table: str, rows: Any) -> bytes:
    return msgspec.json.encode({"table": table, "run_id": "r", "time": "2026-01-01T12:00:00.000+00:00", "rows": rows})


class Redis:
    """A Redis that answers both scripts."""

    def __init__(self, *results: bytes | None, orders: int = 0, cents: int = 0) -> None:
        self.results = results
        self.minute = [b"%d" % orders if orders else None, b"%d" % cents if cents else None]
        self.is_away = False

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = 1.0) -> Any:
        if self.is_away:
            raise RedisAwayError("away")
        if script is sales.READ_RESULTS:
            return [*self.results]
        velocity, minutes, countries = msgspec.msgpack.decode(argument)
        assert (velocity, len(minutes), len(countries)) == ("shop:realtime:metrics:velocity", MINUTES, MINUTES)
        return [b"2.50", [*[[None, None]] * (MINUTES - 1), self.minute], [b"PL", 3, b"<b>", 7]]

    async def close(self) -> None:
        return None


def sales_of(redis: Redis) -> Sales:
    return Sales(redis, redis, prefix="shop:", names=[f"t{n}" for n in range(9)])


async def shown(redis: Redis) -> str:
    sold = sales_of(redis)
    await sold.ask()
    html = sections([seen(sales=sold.figures())], ORDER_RULES, {"sales": sales_section})["sales"]
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


async def test_orders_and_revenue_per_minute_and_countries_are_shown() -> None:
    text = await shown(Redis(orders=4, cents=12_345))
    assert "Orders per minute now 4 /min" in text
    assert "Revenue per minute now 123.45 /min" in text
    assert "Country Orders &lt;b&gt; 7 PL 3" in text, "the most first, foreign text as text"


async def test_a_dataset_without_amounts_shows_orders_alone() -> None:
    text = await shown(Redis(orders=4))
    assert "Orders per minute" in text
    assert "Revenue" not in text


async def test_an_hour_without_orders_is_said_to_be_so() -> None:
    assert "No order of the last 60 minutes is counted; streams.metrics counts them while it runs." in await shown(
        Redis()
    )


async def test_a_small_result_is_shown_whole_and_a_large_one_by_its_last_text() -> None:
    text = await shown(Redis(value("segment_totals", SEGMENTS), value("product_performance", PRODUCTS)))
    assert (
        "Segment totals, by the lake at 2026-01-01T12:00:00 segment customers revenue Gold 2 10.50 Silver 3 –" in text
    )
    assert "Product performance, by the lake at 2026-01-01T12:00:00 class rows pieces revenue" in text
    assert "slow 15 30 18.75 top 5 10 6.25" in text


@pytest.mark.parametrize(
    "spoilt",
    [
        b"no json",
        b"[]",
        b"{}",
        value("t", "rows"),
        value("t", []),
        value("t", [1]),
        value("t", [{"id": n} for n in range(99)]),
        value("t", [{"id": n, "name": f"n{n}"} for n in range(99)]),
        value("t", [{"id": 1, "name": "a"}] * 20 + [{}]),
    ],
    ids=repr,
)
def test_a_value_that_is_no_result_for_people_is_left_out(spoilt: bytes) -> None:
    assert result_of(spoilt) is None


async def test_a_result_is_decoded_once_and_too_large_ones_are_left_out() -> None:
    redis = Redis(value("segment_totals", SEGMENTS), None)
    sold = sales_of(redis)
    await sold.ask()
    [first] = sold.figures()["results"]
    await sold.ask()
    assert sold.figures()["results"][0] is first
    redis.results = (value("segment_totals", SEGMENTS[:1]),)
    await sold.ask()
    assert len(sold.figures()["results"][0]["rows"]) == 1
    assert MOST_RESULTS < 9, "the page asks for no more"


async def test_redis_that_goes_leaves_the_former_figures_with_their_time() -> None:
    redis = Redis(orders=4)
    sold = sales_of(redis)
    assert sold.figures() == {}, "nothing is shown before the first answer"
    await sold.ask()
    before = sold.figures()
    redis.is_away = True
    await sold.ask()
    assert sold.figures() is before
