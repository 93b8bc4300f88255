"""The order cache for other services: JSON objects (`CachedOrder`) at the keys `order:{order id}` of Redis database 1.

Entries are written in the background after a commit; the workers never read them. If more than `MOST_WAITING` orders
are waiting to be written, the oldest are dropped. So an entry may be missing, or may be outdated until it expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from mode import Service

from streams.adapters.redis import Outage, RedisAwayError, Script, ScriptCaller

log = logging.getLogger(__name__)

DATABASE: Final = 1
TTL_S: Final = 120
MOST_WAITING: Final = 10_000
MOST_PER_CALL: Final = 2_000
RETRY_S: Final = 0.5
FLUSH_S: Final = 1.0

_KEY: Final = "order:"
_GONE: Final = object()

WRITE: Final = Script(f"""\
-- {{seconds to live, {{order id = JSON}}, deleted order ids}} -> nil
local ttl, orders, deleted = unpack(cmsgpack.unpack(ARGV[1]))
for id, json in pairs(orders) do redis.call('SET', '{_KEY}' .. id, json, 'EX', ttl) end
for _, id in ipairs(deleted) do redis.call('DEL', '{_KEY}' .. id) end
""")


class CachedOrder(msgspec.Struct, frozen=True, gc=False):
    """The columns of an order that other services read from the cache."""

    customer_id: int | None
    payment_method_id: int | None
    num_products: int


_encode_order = msgspec.json.Encoder().encode
_encode = msgspec.msgpack.Encoder().encode


class OrderCache(Service):
    """A service that writes orders to the order cache in Redis.

    Args:
        client: runs scripts in the cache's database; this service closes it.
        ttl_s: time to live of an entry, in seconds.

    Attributes:
        counts: `cached`, `cache_deleted`, and `cache_dropped` (orders dropped because too many were waiting).
    """

    def __init__(self, client: ScriptCaller, *, ttl_s: int = TTL_S, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counts: Counter[str] = Counter(cached=0, cache_deleted=0, cache_dropped=0)
        self._client = client
        self._ttl_s = ttl_s
        self._waiting: OrderedDict[str, CachedOrder | None] = OrderedDict()
        self._outage = Outage(log, "the order cache is not updated, and its entries expire")
        self._has_some = asyncio.Event()
        self._has_none = asyncio.Event()
        self._has_none.set()

    @property
    def away_since(self) -> float | None:
        """Start of the current Redis outage, as Unix time in seconds; None if there is no outage."""
        return self._outage.since

    def put(self, orders: Mapping[str, CachedOrder | None]) -> None:
        """Queue orders to be written (or deleted, if None) and return at once; drop the oldest if too many wait."""
        if not orders:
            return
        self._waiting.update(orders)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
            self.counts["cache_dropped"] += 1
        self._has_none.clear()
        self._has_some.set()

    async def on_stop(self) -> None:
        """Wait up to `FLUSH_S` seconds until all queued orders are written."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._has_none.wait()

    async def on_shutdown(self) -> None:
        """Close the connections to Redis."""
        await self._client.close()

    @Service.task
    async def _write(self) -> None:
        while True:  # until cancelled, after `on_stop` has waited for the last entries
            await self._has_some.wait()
            taken = dict(itertools.islice(self._waiting.items(), MOST_PER_CALL))
            kept = {id_: _encode_order(order).decode() for id_, order in taken.items() if order is not None}
            deleted = [id_ for id_, order in taken.items() if order is None]
            try:
                await self._client.call(WRITE, _encode((self._ttl_s, kept, deleted)))
            except RedisAwayError as error:
                self._outage.begin(error)
                await asyncio.sleep(RETRY_S)
                continue
            self._outage.end()
            self.counts["cached"] += len(kept)
            self.counts["cache_deleted"] += len(deleted)
            self._forget(taken)

    def _forget(self, written: Mapping[str, CachedOrder | None]) -> None:
        """Remove written orders from the queue, unless a newer value has been queued in the meantime."""
        for id_, order in written.items():
            if self._waiting.get(id_, _GONE) is order:
                del self._waiting[id_]
        if not self._waiting:
            self._has_some.clear()
            self._has_none.set()


class NoCache:
    """An order cache that is switched off."""

    away_since: float | None = None

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def put(self, orders: Mapping[str, CachedOrder | None]) -> None:
        """Do nothing, because the cache is switched off."""
