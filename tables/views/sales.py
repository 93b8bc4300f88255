"""What was sold, as a section of the page `/`: the live figures of `streams.metrics`, and the results of the lake.

The live figures are orders and revenue per minute and orders by country, of the last hour. The results are the Gold
tables that the lake publishes in Redis, such as customers by segment and products by class; a table with many rows is
shown by the groups of its last column of text. The service asks every ten seconds, whether anybody looks or not.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from mode import Service

from streams.adapters.lake_keys import RESULTS
from streams.adapters.redis import RedisAwayError, Script, ScriptCaller
from streams.model.figures import minutes_before
from streams.runtime.web.dashboard.html import Markup, chart, element, joined, table
from streams.runtime.web.dashboard.verdict import clock
from tables.figures import COUNTRIES, ORDERS, VELOCITY

log = logging.getLogger(__name__)

RESULTS_DATABASE: Final = 0
ASK_S: Final = 10.0
MINUTES: Final = 60
MOST_ROWS: Final = 8
MOST_COLUMNS: Final = 6
MOST_RESULTS: Final = 4
LARGEST_RESULT_BYTES: Final = 2**20
"""Size above which a result is not read: decoding it would hold the worker up for too long."""

_CENTS: Final = 100

READ: Final = Script("""\
-- {velocity, {hashes of minutes}, {hashes of countries}} -> velocity, {orders, cents} by minute, country and orders
local velocity, minutes, countries = unpack(cmsgpack.unpack(ARGV[1]))
local found, sums, flat = {}, {}, {}
for n, key in ipairs(minutes) do found[n] = redis.call('HMGET', key, 'orders', 'revenue_cents') end
for _, key in ipairs(countries) do
    local pairs_of = redis.call('HGETALL', key)
    for n = 1, #pairs_of, 2 do sums[pairs_of[n]] = (sums[pairs_of[n]] or 0) + tonumber(pairs_of[n + 1]) end
end
for country, orders in pairs(sums) do flat[#flat + 1] = country; flat[#flat + 1] = orders end
return {redis.call('GET', velocity), found, flat}
""")

READ_RESULTS: Final = Script("""\
-- {largest size, {keys}} -> the value of each key; none if it is larger
local most, keys = unpack(cmsgpack.unpack(ARGV[1]))
local found = {}
for n, key in ipairs(keys) do found[n] = redis.call('STRLEN', key) <= most and redis.call('GET', key) end
return found
""")


class Sales(Service):
    """The live figures and the lake's results of one dataset, as Redis has them.

    Args:
        figures: the database of the live figures.
        results: the database of the results.
        prefix: beginning of the keys of the live figures.
        names: names of the Gold tables that the lake publishes.
    """

    def __init__(
        self, figures: ScriptCaller, results: ScriptCaller, *, prefix: str, names: Sequence[str], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._clients = figures, results
        self._prefix = prefix
        self._keys = [f"{RESULTS}{name}" for name in names[:MOST_RESULTS]]
        self._known: dict[bytes, dict[str, Any] | None] = {}
        self._figures: dict[str, Any] = {}

    @Service.task
    async def _ask_again_and_again(self) -> None:
        while not self.should_stop:
            await self.ask()
            await self.sleep(ASK_S)

    async def on_stop(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.close()

    def figures(self) -> dict[str, Any]:
        """Return what Redis said last, with the Unix time of the answer as `at`; empty before the first answer.

        velocity (orders per minute), orders and cents (per minute, oldest first), countries (orders by country), and
        results (name, time, heads and rows of each) are those of all workers.
        """
        return self._figures

    async def ask(self) -> None:
        """Read the figures and the results; without an answer the former ones stay, with their time."""
        live, results = self._clients
        now = time.time()
        minutes = [*reversed(minutes_before(now, MINUTES))]
        keys = [[f"{self._prefix}{kind}{minute}" for minute in minutes] for kind in (ORDERS, COUNTRIES)]
        try:
            answer = await live.call(READ, msgspec.msgpack.encode((f"{self._prefix}{VELOCITY}", *keys)))
            values = await results.call(READ_RESULTS, msgspec.msgpack.encode((LARGEST_RESULT_BYTES, self._keys)))
            self._figures = {"at": now, **_live(*answer), "results": self._results(values)}
        except (RedisAwayError, ValueError, TypeError) as error:
            log.debug("the figures cannot be read: %r", error)

    def _results(self, values: Sequence[bytes | None]) -> list[dict[str, Any]]:
        """Return the results, and decode only those that have changed."""
        self._known = {
            value: self._known[value] if value in self._known else result_of(value) for value in values if value
        }
        return [found for found in self._known.values() if found is not None]


def _live(velocity: bytes | None, minutes: Sequence[Sequence[bytes | None]], flat: Sequence[Any]) -> dict[str, Any]:
    countries = {name.decode(): int(number) for name, number in zip(flat[::2], flat[1::2], strict=True)}
    return {
        "velocity": None if velocity is None else float(velocity),
        "orders": [int(orders or 0) for orders, _ in minutes],
        "cents": [int(cents or 0) for _, cents in minutes],
        "countries": dict(Counter(countries).most_common(MOST_ROWS)),
    }


def result_of(value: bytes) -> dict[str, Any] | None:
    """Return the name, time, heads and rows of a result; None if the value is none, or has no rows."""
    try:
        found = msgspec.json.decode(value)
        rows = [[*row.values()] for row in found["rows"]]
        heads = [str(name) for name in found["rows"][0]] if rows else []
        shown = rows if len(rows) <= MOST_ROWS else _grouped(heads, rows)
        if not rows or shown is None:
            return None
        heads = heads if shown is rows else [*shown.pop(0)]
        cells = [["–" if cell is None else str(cell)[:40] for cell in row[:MOST_COLUMNS]] for row in shown]
        return {
            "name": str(found["table"]),
            "time": str(found["time"])[:19],
            "heads": heads[:MOST_COLUMNS],
            "rows": cells,
        }
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _grouped(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[Any]] | None:
    """Return the number of rows, and the sums of the columns of numbers but the key, by the last column of text.

    The first row has the heads. None if there is no such column, or if it has too many values.
    """
    texts = [n for n in range(1, len(heads)) if all(row[n] is None or _is_text(row[n]) for row in rows)]
    if not texts:
        return None
    by = texts[-1]
    numbers = [n for n in range(1, len(heads)) if n not in texts and all(_number(row[n]) is not None for row in rows)]
    sums: dict[Any, list[Any]] = {}
    for row in rows:
        group = sums.setdefault(row[by], [0] * (len(numbers) + 1))
        group[0] += 1
        for place, n in enumerate(numbers, 1):
            group[place] += _number(row[n])
    if len(sums) > MOST_ROWS:
        return None
    body = sorted(([name, *group] for name, group in sums.items()), key=lambda row: str(row[0]))
    return [[heads[by], "rows", *[heads[n] for n in numbers]], *body]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and _number(value) is None


def _number(value: Any) -> Decimal | None:
    """Return a number, which may be written as text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def sales_section(parts: Sequence[Mapping[str, Any]]) -> Markup:
    """Return what was sold; all workers read the same figures, so the newest answer is enough."""
    part = max(parts, key=lambda each: each.get("at", 0.0))
    heading = element("h2", f"What was sold, as of {clock(part['at'])}")
    return joined(heading, *_charts(part), _countries(part["countries"]), *map(_result, part["results"]))


def _charts(part: Mapping[str, Any]) -> list[Markup]:
    if not any(part["orders"]):
        why = f"No order of the last {MINUTES} minutes is counted; streams.metrics counts them while it runs."
        return [element("p", why, class_="quiet")]
    drawn = [chart("Orders per minute", "/min", part["orders"], step_s=60)]
    if any(part["cents"]):
        drawn.append(chart("Revenue per minute", "/min", [cents / _CENTS for cents in part["cents"]], step_s=60))
    return [element("div", *drawn, class_="charts")]


def _countries(countries: Mapping[str, int]) -> Markup:
    rows = [(name, f"{number:,}") for name, number in countries.items()]
    return table("Orders by country, last hour", ("Country", "Orders"), rows) if rows else Markup("")


def _result(result: Mapping[str, Any]) -> Markup:
    caption = f"{result['name'].replace('_', ' ').capitalize()}, by the lake at {result['time']}"
    return table(caption, [head.replace("_", " ") for head in result["heads"]], result["rows"])
