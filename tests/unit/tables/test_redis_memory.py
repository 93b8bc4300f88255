"""Goal: the alert about Redis' memory has true figures, or none.

Method: accounts as Redis gives them to `INFO memory`.
"""

from __future__ import annotations

from typing import Any

import pytest

from streams.adapters.redis import RedisAwayError, Script
from tables.views.redis_memory import READ, RedisMemory, RedisMemoryCollector, memory_of

ACCOUNT = b"# Memory\r\nused_memory:1000\r\nused_memory_human:1K\r\ntotal_system_memory:8000\r\nmaxmemory:%d\r\n"


class Redis:
    def __init__(self) -> None:
        self.account: bytes | None = ACCOUNT % 5_000

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = 1.0) -> Any:
        assert script is READ
        if self.account is None:
            raise RedisAwayError("away")
        return self.account

    async def close(self) -> None:
        return None


def exposed(memory: RedisMemory) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in RedisMemoryCollector(memory).collect()}


def test_the_limit_is_maxmemory_or_the_memory_of_the_machine() -> None:
    assert memory_of(ACCOUNT % 5_000) == (1_000, 5_000)
    assert memory_of(ACCOUNT % 0) == (1_000, 8_000)


@pytest.mark.parametrize("spoilt", [None, b"", b"used_memory:x\r\nmaxmemory:1"])
async def test_what_is_not_known_any_more_is_not_exposed(spoilt: bytes | None) -> None:
    redis = Redis()
    memory = RedisMemory(redis)
    assert exposed(memory) == {}
    await memory.ask()
    assert exposed(memory) == {"millrace_redis_used_bytes": 1_000, "millrace_redis_limit_bytes": 5_000}
    redis.account = spoilt
    await memory.ask()
    assert exposed(memory) == {}
