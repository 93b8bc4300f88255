"""How much memory Redis uses and may use, for the alert that it will be full within a day.

When it is full, Redis refuses locks, and complete orders wait. The service asks every ten seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

from mode import Service
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.adapters.redis import RedisAwayError, Script, ScriptCaller

log = logging.getLogger(__name__)

ASK_S: Final = 10.0

READ: Final = Script("""\
-- -> Redis' own account of its memory
return redis.call('INFO', 'memory')
""")


class RedisMemory(Service):
    """The memory of the Redis server that has the locks."""

    def __init__(self, redis: ScriptCaller, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._redis = redis
        self.used_bytes: int | None = None
        self.limit_bytes: int | None = None

    @Service.task
    async def _ask_again_and_again(self) -> None:
        while not self.should_stop:
            await self.ask()
            await self.sleep(ASK_S)

    async def on_stop(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def ask(self) -> None:
        """Read the account; without an answer nothing is known, as a former figure would look like a quiet Redis."""
        try:
            self.used_bytes, self.limit_bytes = memory_of(await self._redis.call(READ, b""))
        except (RedisAwayError, KeyError, ValueError) as error:
            log.debug("the memory of Redis cannot be read: %r", error)
            self.used_bytes = self.limit_bytes = None


def memory_of(account: bytes) -> tuple[int, int]:
    """Return the used bytes, and the limit: `maxmemory`, or the memory of its machine if there is none."""
    lines = [line.partition(":") for line in account.decode().splitlines()]
    fields = {name: value for name, _, value in lines}
    return int(fields["used_memory"]), int(fields["maxmemory"]) or int(fields["total_system_memory"])


class RedisMemoryCollector(Collector):
    """Prometheus collector of the memory, as long as it is known."""

    def __init__(self, memory: RedisMemory) -> None:
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        """Yield the used bytes and the limit."""
        for name, help, value in (
            ("millrace_redis_used_bytes", "Bytes that the Redis with the order locks uses.", self._memory.used_bytes),
            (
                "millrace_redis_limit_bytes",
                "Bytes that it may use: `maxmemory`, or the memory of its machine.",
                self._memory.limit_bytes,
            ),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, help, value=value)
