"""The lease of a dataset in Redis, which allows only one run of the dataset at a time.

While a run holds the lease, any other run waits, or fails with an error that names the holder. The lease only avoids
wasted work: Delta commits already prevent conflicts between writers. So a run continues, with a warning, if Redis is
unreachable or the lease is lost.

    batch_lease:{dataset}     JSON {token, holder, since}; expires LEASE_S seconds after its last renewal
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from batch.errors import BatchError
from streams.adapters.redis import RedisAwayError, Script

log = logging.getLogger(__name__)

LEASE_S: Final = 30
RENEW_S: Final = 10.0
ASK_AGAIN_S: Final = 1.0

TAKE: Final = Script("""\
-- ARGV[1] is {key, token, value, milliseconds} in MessagePack.
-- Take or renew the lease and return ''; if another token holds the lease, return its value instead.
local key, token, value, ms = unpack(cmsgpack.unpack(ARGV[1]))
local found = redis.call('GET', key)
if found and cjson.decode(found).token ~= token then return found end
redis.call('SET', key, value, 'PX', ms)
return ''
""")

GIVE_BACK: Final = Script("""\
-- ARGV[1] is {key, token} in MessagePack.
-- Delete the lease and return 1; if this token does not hold the lease, return 0.
local key, token = unpack(cmsgpack.unpack(ARGV[1]))
local found = redis.call('GET', key)
if not found or cjson.decode(found).token ~= token then return 0 end
return redis.call('DEL', key)
""")


class Caller(Protocol):
    """A Redis client that can run Lua scripts, such as `streams.adapters.redis.RedisConsole`."""

    def call(self, script: Script, argument: bytes) -> object:
        """Run a Lua script with one argument, and return its result."""
        ...


class Held(msgspec.Struct, kw_only=True):
    """The value of a lease in Redis.

    Attributes:
        token: random id of the process that holds the lease.
        holder: that process and its host, for messages.
        since: ISO time in UTC at which that process created its `Lease`.
    """

    token: str
    holder: str
    since: str


class Lease:
    """The lease of one dataset; `hold` takes, renews and releases it."""

    def __init__(self, redis: Caller, dataset: str, say: Callable[[str], None]) -> None:
        self._redis = redis
        self._dataset = dataset
        self._say = say
        self._key = f"batch_lease:{dataset}"
        self._held = Held(
            token=secrets.token_hex(16),
            holder=f"process {os.getpid()} on {socket.gethostname()}",
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @contextmanager
    def hold(self, *, wait: bool, stop: threading.Event | None = None) -> Iterator[None]:
        """Take the lease, renew it in the background during the `with` block, and release it on exit.

        If Redis is unreachable, the block is executed without the lease.

        Raises:
            BatchError: another run holds the lease and `wait` is false, or `stop` was set while waiting.
        """
        self._take(wait=wait, stop=stop or threading.Event())
        done = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(done,), name="lease", daemon=True)
        renewal.start()
        try:
            yield
        finally:
            done.set()
            renewal.join()
            self._give_back()

    def _take(self, *, wait: bool, stop: threading.Event) -> None:
        announced = ""
        while (other := self._ask()) is not None:
            who = f"{other.holder}, since {other.since}"
            if not wait:
                raise BatchError(
                    f"another run of {self._dataset} is in progress ({who}): add --wait, or try again later; "
                    f"if that process was killed, its lease expires within {LEASE_S} s"
                )
            if who != announced:
                self._say(f"waiting for another run of {self._dataset} ({who})")
                announced = who
            if stop.wait(ASK_AGAIN_S):
                raise BatchError(f"stopped while waiting for another run of {self._dataset} ({who})")

    def _ask(self) -> Held | None:
        """Try to take the lease; return the run that holds it, or None on success or if Redis is unreachable."""
        argument = (self._key, self._held.token, msgspec.json.encode(self._held).decode(), LEASE_S * 1000)
        try:
            answer = self._redis.call(TAKE, msgspec.msgpack.encode(argument))
        except RedisAwayError as error:
            self._say(
                f"warning: could not take the lease of dataset {self._dataset} ({error}); "
                "continuing, because table commits prevent conflicts between runs"
            )
            log.warning("could not take the lease of dataset %s: %s", self._dataset, error)
            return None
        if not answer:
            return None
        assert isinstance(answer, bytes)
        return msgspec.json.decode(answer, type=Held)

    def _renew(self, done: threading.Event) -> None:
        argument = (self._key, self._held.token, msgspec.json.encode(self._held).decode(), LEASE_S * 1000)
        blob = msgspec.msgpack.encode(argument)
        lost = False
        while not done.wait(RENEW_S):
            began = time.monotonic()
            try:
                other = self._redis.call(TAKE, blob)
            except RedisAwayError as error:
                seconds = time.monotonic() - began
                log.warning("could not renew the lease of dataset %s in %.1f s: %s", self._dataset, seconds, error)
                continue
            if other and not lost:
                lost = True
                log.warning(
                    "another run took over the lease of dataset %s; continuing: table commits prevent conflicts",
                    self._dataset,
                )

    def _give_back(self) -> None:
        try:
            self._redis.call(GIVE_BACK, msgspec.msgpack.encode((self._key, self._held.token)))
        except RedisAwayError as error:
            log.warning("could not release the lease of dataset %s (it will expire): %s", self._dataset, error)
