"""The live figures in Redis, database 3: counts of changes, orders and revenue per minute, countries, and alerts.

    cdc:stats:{table}                     hash: created, updated, deleted, read, last_change_ms
    realtime:metrics:orders:{minute}      hash: orders, revenue_cents; the minute is that of the order, as YYYYMMDDhhmm
    realtime:metrics:countries:{minute}   hash: country → orders placed
    realtime:metrics:velocity             orders per minute, over the last five full minutes
    alerts:high_value, alerts:bulk        streams: order, and total_cents or quantity
    metrics:counted:{minute}              hash: order → total in cents, of the orders that the minute counts
    metrics:countries                     hash: customer → country
    metrics:quantity:{order}              pieces of the order so far
    metrics:dataset                       name of the dataset

All keys begin with a prefix if the sink has one, so that the figures of several datasets fit in one Redis.

One script call writes all that a turn (a micro-batch of a partition) adds and, atomically with it, the next offset to
read, in the hash `metrics_offsets:{app id}` (`tables/redis_offsets.py`). So each change is counted once. If Redis loses
its data, all changes are counted again, except in windows that have ended. An order's correction or deletion counts
only if its placing was counted, so that one that a snapshot read takes nothing away.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from mode import Service

from streams.adapters.redis import Script, ScriptCaller
from streams.model.errors import SinkAwayError
from streams.model.figures import Figure, minutes_before
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from tables.dead_letters import DeadLetterProducer
from tables.newest import NewestChange
from tables.redis_offsets import RedisOffset, stored_text

DATABASE: Final = 3
STATS: Final = "cdc:stats:"
ORDERS: Final = "realtime:metrics:orders:"
COUNTRIES: Final = "realtime:metrics:countries:"
VELOCITY: Final = "realtime:metrics:velocity"
VELOCITY_MINUTES: Final = 5
VELOCITY_TTL_S: Final = 30
HIGH_VALUE: Final = "alerts:high_value"
BULK: Final = "alerts:bulk"
MOST_ALERTS: Final = 1_000
"""About how many alerts of each kind are kept."""

COUNTED: Final = "metrics:counted:"
COUNTRY_OF: Final = "metrics:countries"
QUANTITY: Final = "metrics:quantity:"
DATASET: Final = "metrics:dataset"
_OFFSETS: Final = "metrics_offsets:"

CLAIM: Final = Script("""\
-- {key, dataset} -> the dataset that the figures are of, which is this one if there was none
local key, dataset = unpack(cmsgpack.unpack(ARGV[1]))
redis.call('SET', key, dataset, 'NX')
return redis.call('GET', key)
""")

ADD: Final = Script("""\
-- what a turn adds, and where it ends -> 1, or 0 if another offset is stored
local turn = cmsgpack.unpack(ARGV[1])
if (redis.call('HGET', turn.hash, turn.field) or '') ~= turn.expected then return 0 end
for kind, number in pairs(turn.kinds) do redis.call('HINCRBY', turn.stats, kind, number) end
local newest = tonumber(redis.call('HGET', turn.stats, 'last_change_ms') or '0')
if turn.newest > newest then redis.call('HSET', turn.stats, 'last_change_ms', string.format('%.0f', turn.newest)) end
for customer, country in pairs(turn.countries) do
    if country == '' then redis.call('HDEL', turn.country_of, customer)
    else redis.call('HSET', turn.country_of, customer, country) end
end
for _, each in ipairs(turn.orders) do
    local minute, order, step, cents, customer = unpack(each)
    local counted = turn.counted .. minute
    local known = redis.call('HGET', counted, order)
    if known or step == 1 then
        local window = turn.window .. minute
        if step == -1 then redis.call('HDEL', counted, order)
        else redis.call('HSET', counted, order, string.format('%.0f', cents)) end
        local more = (step == -1 and 0 or cents) - (known or 0)
        redis.call('HINCRBY', window, 'orders', (known and 0 or 1) + (step == -1 and -1 or 0))
        redis.call('HINCRBY', window, 'revenue_cents', string.format('%.0f', more))
        redis.call('EXPIRE', counted, turn.window_s)
        redis.call('EXPIRE', window, turn.window_s)
        if not known and customer ~= '' then
            local country = redis.call('HGET', turn.country_of, customer) or 'unknown'
            redis.call('HINCRBY', turn.countries_of .. minute, country, 1)
            redis.call('EXPIRE', turn.countries_of .. minute, turn.window_s)
        end
    end
end
for order, number in pairs(turn.pieces) do
    local key = turn.quantity .. order
    local pieces = redis.call('INCRBY', key, number)
    redis.call('EXPIRE', key, turn.window_s)
    if turn.bulk > 0 and pieces >= turn.bulk and pieces - number < turn.bulk then
        redis.call('XADD', turn.bulk_alerts, 'MAXLEN', '~', turn.most, '*', 'order', order, 'quantity', pieces)
    end
end
for _, alert in ipairs(turn.high) do
    redis.call('XADD', turn.high_alerts, 'MAXLEN', '~', turn.most, '*', 'order', alert[1],
        'total_cents', string.format('%.0f', alert[2]))
end
redis.call('HSET', turn.hash, turn.field, turn.next)
return 1
""")

SPEED: Final = Script("""\
-- {key, seconds to keep it, {hashes of minutes}} -> the sum of their orders, whose average per minute is stored
local key, ttl, minutes = unpack(cmsgpack.unpack(ARGV[1]))
local sum = 0
for _, minute in ipairs(minutes) do sum = sum + tonumber(redis.call('HGET', minute, 'orders') or '0') end
redis.call('SET', key, string.format('%.2f', sum / #minutes), 'EX', ttl)
return sum
""")


class FigureSink(Service):
    """A sink that writes live figures to Redis; creates a committer for each partition task.

    Args:
        client: runs scripts in the figures' database; the sink closes it.
        app: the application, whose consumer group's offsets are committed so that its lag can be monitored.
        window_s: seconds for which the figures of a minute, and the pieces of an order, are kept after the last change.
        bulk: number of pieces of an order that raises an alert; 0 for none.
        dataset: name of the dataset that the figures are of.
        prefix: beginning of all keys.

    Attributes:
        counts: changes by what they do, and alerts for high values (`high_value`).
        newest: the newest change that this worker has counted.
    """

    def __init__(
        self,
        client: ScriptCaller,
        app: TransactionalApp,
        *,
        window_s: float,
        bulk: int,
        dataset: str,
        prefix: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.client = client
        self.app = app
        self.window_s = int(window_s)
        self.bulk = bulk
        self.dataset = dataset
        self.prefix = prefix
        self.dead_letters = DeadLetterProducer(app)
        self.counts: Counter[str] = Counter(created=0, updated=0, deleted=0, read=0, high_value=0)
        self.newest = NewestChange()

    def committers(self, topic: str, table: str, *, has_orders: bool = False) -> Callable[[int], FigureCommitter]:
        """Return a function that creates the committer of a partition of this topic, given the partition number.

        The topic has the changes of `table`; with `has_orders`, its first partition also keeps the velocity current.
        """
        return lambda partition: FigureCommitter(self, topic, partition, table, is_clock=has_orders and partition == 0)

    async def on_shutdown(self) -> None:
        """Close the connections to Kafka and Redis."""
        await self.dead_letters.close()
        await self.client.close()


class FigureCommitter(RedisOffset):
    """A committer that adds one partition's figures, together with the partition's offset."""

    def __init__(self, sink: FigureSink, topic: str, partition: int, table: str, *, is_clock: bool) -> None:
        super().__init__(sink, topic, partition, prefix=_OFFSETS, content="figures")
        self._sink = sink
        self._prefix = sink.prefix
        self._stats = f"{self._prefix}{STATS}{table}"
        self._is_clock = is_clock

    async def open(self) -> None:
        """Make sure that the figures are of this dataset.

        Raises:
            SinkAwayError: Redis does not answer, or has the figures of another dataset under the same keys.
        """
        await super().open()
        found = stored_text(await self._call(CLAIM, (f"{self._prefix}{DATASET}", self._sink.dataset)))
        if found != self._sink.dataset:
            raise SinkAwayError(
                f"Redis has the figures of dataset {found}, not of {self._sink.dataset}: set METRICS_KEY_PREFIX, such "
                f"as {self._sink.dataset}:"
            )

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Write dead letters to Kafka, then add the figures and move the offset atomically in Redis.

        Raises:
            SinkAwayError: Redis does not answer, or the stored offset is not the expected one.
        """
        await self._keep_dead_letters(outputs)
        figures = [cast(Figure, record.content) for record in outputs if record.content is not None]
        offset = offsets[self._topic]
        place = {"hash": self._place[0], "field": self._place[1], "expected": self._expected, "next": str(offset)}
        await self._moved(ADD, {**place, **added(figures, self._stats), **self._limits()}, offset)
        self._sink.counts.update(figure.kind for figure in figures)
        self._sink.newest.note(figure.at_ms for figure in figures)
        self._sink.counts["high_value"] += sum(figure.high is not None for figure in figures)
        return {}

    async def check(self) -> None:
        """Check the stored offset; let the velocity follow the clock, so that it falls when no order comes."""
        await super().check()
        if self._is_clock:
            hashes = f"{self._prefix}{ORDERS}"
            minutes = [f"{hashes}{minute}" for minute in minutes_before(time.time(), VELOCITY_MINUTES)]
            await self._call(SPEED, (f"{self._prefix}{VELOCITY}", VELOCITY_TTL_S, minutes))

    def _limits(self) -> dict[str, Any]:
        keys = {
            "bulk_alerts": BULK,
            "high_alerts": HIGH_VALUE,
            "counted": COUNTED,
            "window": ORDERS,
            "countries_of": COUNTRIES,
            "country_of": COUNTRY_OF,
            "quantity": QUANTITY,
        }
        limits = {"window_s": self._sink.window_s, "bulk": self._sink.bulk, "most": MOST_ALERTS}
        return {**limits, **{name: f"{self._prefix}{key}" for name, key in keys.items()}}


def added(figures: Sequence[Figure], stats: str) -> dict[str, Any]:
    """Return what figures add together, as the script takes it; `stats` is the hash with the table's counts."""
    kinds: Counter[str] = Counter()
    orders: list[tuple[str, str, int, int, str]] = []
    pieces: Counter[str] = Counter()
    countries: dict[str, str] = {}
    for figure in figures:
        kinds[figure.kind] += 1
        if figure.minute is not None and figure.order is not None:
            orders.append((figure.minute, figure.order, figure.orders, figure.cents, figure.customer or ""))
        if figure.country is not None:
            countries[figure.country[0]] = figure.country[1] or ""
        if figure.quantity is not None:
            pieces[figure.quantity[0]] += figure.quantity[1]
    changes = [figure.at_ms for figure in figures if figure.kind != "read"]
    return {
        "kinds": kinds,
        "stats": stats,
        "newest": max(changes, default=0),
        "countries": countries,
        "orders": orders,
        "pieces": pieces,
        "high": [figure.high for figure in figures if figure.high is not None],
    }
