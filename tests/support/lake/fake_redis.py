"""A fake Redis that implements the scripts of the lease and the job record, and can be made unreachable."""

from __future__ import annotations

import json

import msgspec

from batch.pipeline import job_record, lease
from streams.adapters.redis import RedisAwayError, Script


class FakeRedis:
    """An in-memory Redis with texts and hashes by key.

    Attributes:
        texts: text values by key.
        hashes: hashes by key.
        is_away: whether every call fails, as if Redis were unreachable.
        calls: number of calls so far.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.hashes: dict[str, dict[str, str]] = {}
        self.is_away = False
        self.calls = 0

    def call(self, script: Script, argument: bytes) -> object:
        self.calls += 1
        if self.is_away:
            raise RedisAwayError("Redis at nowhere: no answer")
        if script is lease.TAKE:
            return self._take(*msgspec.msgpack.decode(argument))
        if script is lease.GIVE_BACK:
            return self._give_back(*msgspec.msgpack.decode(argument))
        if script is job_record.READ:
            found = self.hashes.get(argument.decode(), {})
            return [text.encode() for pair in found.items() for text in pair]
        assert script is job_record.WRITE
        key, fields = msgspec.msgpack.decode(argument)
        self.hashes[key] = dict(zip(fields[::2], fields[1::2], strict=True))
        return 1

    def _take(self, key: str, token: str, value: str, _ms: int) -> bytes:
        found = self.texts.get(key)
        if found is not None and json.loads(found)["token"] != token:
            return found.encode()
        self.texts[key] = value
        return b""

    def _give_back(self, key: str, token: str) -> int:
        found = self.texts.get(key)
        if found is None or json.loads(found)["token"] != token:
            return 0
        del self.texts[key]
        return 1
