"""The order cache for other services: `order:{order id}` in database 1 of Redis, a JSON object of `CachedOrder`.

Entries are written in the background after a commit; the workers never read them. At most `MOST_WAITING` orders wait to
be written, beyond that the oldest are dropped. So an entry may be missing, or outdated by at most its time to live.
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
-- {{seconds to live, {{order id = JSON}}, deleted order ids}}
local ttl, orders, deleted = unpack(cmsgpack.unpack(ARGV[1]))
for id, json in pairs(orders) do redis.call('SET', '{_KEY}' .. id, json, 'EX', ttl) end
for _, id in ipairs(deleted) do redis.call('DEL', '{_KEY}' .. id) end
""")


class CachedOrder(msgspec.Struct, frozen=True, gc=False):
    """An order as other services read it."""

    customer_id: int | None
    payment_method_id: int | None
    num_products: int


_encode_order = msgspec.json.Encoder().encode
_encode = msgspec.msgpack.Encoder().encode


class OrderCache(Service):
    """Writes the order cache.

    Args:
        client: calls scripts on the cache's database; closed with the cache.
        ttl_s: time to live of an entry, in seconds.

    Attributes:
        counts: `cached`, `cache_deleted`, and `cache_dropped`: changes dropped because too many waited.
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
        """Start of an outage of Redis, Unix time in seconds; None without one."""
        return self._outage.since

    def put(self, orders: Mapping[str, CachedOrder | None]) -> None:
        """Queue orders for writing (None: deleted) and return at once; if too many wait, the oldest are dropped."""
        if not orders:
            return
        self._waiting.update(orders)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
            self.counts["cache_dropped"] += 1
        self._has_none.clear()
        self._has_some.set()

    async def on_stop(self) -> None:
        """Write the waiting entries, if possible within `FLUSH_S`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._has_none.wait()

    async def on_shutdown(self) -> None:
        """Release the connections."""
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
        """Remove entries that were written, unless a newer value has arrived meanwhile."""
        for id_, order in written.items():
            if self._waiting.get(id_, _GONE) is order:
                del self._waiting[id_]
        if not self._waiting:
            self._has_some.clear()
            self._has_none.set()


class NoCache:
    """A disabled cache."""

    away_since: float | None = None

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def put(self, orders: Mapping[str, CachedOrder | None]) -> None:
        """Cache nothing."""
