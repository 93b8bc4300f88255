"""Redis clients: an asynchronous one that runs scripts for workers, and a blocking one for command-line tools.

In a worker, one timeout covers a whole call (connection, log-in, request, response). This module never retries a call,
because only the caller knows the cost of waiting. The scripts receive their keys inside a packed argument, which Redis
Cluster does not allow: the clients support a single Redis server, with or without replicas.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterator
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
import redis.asyncio
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.tls import certificate_fault

CALL_TIMEOUT_S: Final = 2.0
"""Timeout of a worker's call. A script runs for milliseconds, but a fork or a slow disk may delay Redis by a second."""

COMMAND_TIMEOUT_S: Final = 10.0
"""Timeout of a command-line call; a user can wait longer than a worker while Redis is under load."""

CONNECTIONS: Final = 8
"""Maximum number of concurrent calls; more would not help, because Redis runs one script at a time."""

SCAN_COUNT: Final = 2_000
"""Number of keys that Redis examines per SCAN call."""

_PASSING_CODES: Final = ("BUSY", "MISCONF", "NOREPLICAS", "UNKILLABLE")
_REFUSALS: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_PASSING: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    OSError,
)


class RedisAwayError(Exception):
    """Error raised when Redis cannot serve a call now: unreachable, timed out, loading, out of memory or read-only.

    The script may or may not have run.
    """


class RedisRefusedError(RedisAwayError):
    """Error raised when Redis rejects a request, for example because of a wrong password; retries do not help."""


class Script:
    """A Lua script for Redis, with the SHA-1 hash by which Redis identifies it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class ScriptCaller(Protocol):
    """Interface through which services run Lua scripts in Redis."""

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = CALL_TIMEOUT_S) -> Any: ...
    async def close(self) -> None: ...


class RedisClient:
    """An asynchronous client of one Redis database, for workers; it connects at the first call.

    Args:
        url: URL with the scheme `redis://` or `rediss://`; a database number in it is ignored.
        database: number of the database.
    """

    def __init__(self, url: str, *, database: int) -> None:
        self._name = _name(url, database)
        # redis-py's own timeouts are disabled: on Python 3.11 they use `wait_for`, which can swallow a cancellation.
        pool = redis.asyncio.ConnectionPool.from_url(
            _with_database(url, database),
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),  # by default, redis-py makes up to eleven attempts
            protocol=2,  # no push messages, and no commands on a new connection but log-in and SELECT
            driver_info=None,
        )
        self._pool = pool
        self._redis: Any = redis.asyncio.Redis(connection_pool=pool)
        self._free = asyncio.Semaphore(CONNECTIONS)

    def __repr__(self) -> str:
        return self._name

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Run a script with one argument and return its result, with strings as bytes. It is safe to cancel the call.

        Raises:
            RedisAwayError: Redis does not answer within `timeout_s` seconds, or cannot serve the call now.
            RedisRefusedError: Redis rejected the request.
        """
        try:
            async with asyncio.timeout(timeout_s), self._free:
                try:
                    return await self._redis.execute_command("EVALSHA", script.sha, 0, argument)
                except exceptions.NoScriptError:  # Redis was restarted, or its scripts were flushed
                    return await self._redis.execute_command("EVAL", script.text, 0, argument)
        except TimeoutError:
            raise RedisAwayError(f"{self._name} did not answer within {timeout_s:g} s") from None
        except (exceptions.RedisError, OSError) as error:
            raise _translated(error, self._name) from None

    async def close(self) -> None:
        """Close the connections that are not in use."""
        await self._pool.disconnect(inuse_connections=False)


class RedisConsole:
    """A blocking client of one Redis database, for command-line tools; it raises the same errors as `RedisClient`."""

    def __init__(self, url: str, *, database: int) -> None:
        self._name = _name(url, database)
        self._redis: Any = redis.Redis.from_url(
            _with_database(url, database),
            socket_timeout=COMMAND_TIMEOUT_S,
            socket_connect_timeout=COMMAND_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
        )

    def __repr__(self) -> str:
        return self._name

    def __enter__(self) -> RedisConsole:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def call(self, script: Script, argument: bytes) -> Any:
        """Run a script with one argument and return its result, with strings as bytes."""
        try:
            return self._redis.execute_command("EVAL", script.text, 0, argument)
        except (exceptions.RedisError, OSError) as error:
            raise _translated(error, self._name) from None

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None if the key does not exist."""
        try:
            value: bytes | None = self._redis.get(key)
        except (exceptions.RedisError, OSError) as error:
            raise _translated(error, self._name) from None
        return value

    def scan(self, pattern: str) -> Iterator[list[bytes]]:
        """Yield the keys that match a pattern, page by page; a key may occasionally be repeated."""
        cursor: int | None = None
        while cursor != 0:
            try:
                cursor, keys = self._redis.scan(cursor or 0, match=pattern, count=SCAN_COUNT)
            except (exceptions.RedisError, OSError) as error:
                raise _translated(error, self._name) from None
            if keys:
                yield keys


class Outage:
    """A tracker of Redis outages, from the first failed call to the next successful one; logs each start and end.

    Args:
        consequence: effect of an outage, which is added to the log line about its start.

    Attributes:
        since: start of the current outage, as Unix time in seconds; None if there is no outage.
    """

    def __init__(self, log: logging.Logger, consequence: str) -> None:
        self.since: float | None = None
        self._log = log
        self._consequence = consequence
        self._began = 0.0

    def begin(self, error: RedisAwayError) -> None:
        """Record a failed call: start an outage, unless one is already in progress."""
        if self.since is None:
            self.since, self._began = time.time(), time.monotonic()
            self._log.warning("%s; %s", error, self._consequence)

    def end(self) -> float:
        """Record a successful call: end the outage and return its duration in seconds, or 0 if there was no outage."""
        if self.since is None:
            return 0.0
        seconds = time.monotonic() - self._began
        self.since = None
        self._log.warning("Redis answers again after an outage of %.1f s", seconds)
        return seconds


def _translated(error: Exception, name: str) -> RedisAwayError:
    refused = certificate_fault(str(error), ca="REDIS_CA_FILE", address="REDIS_URL")
    if refused:
        return RedisRefusedError(f"{name} was refused: {refused}")
    if isinstance(error, exceptions.AuthenticationError):
        return RedisRefusedError(f"{name} rejected the login ({error}): check the password in REDIS_URL")
    if isinstance(error, _REFUSALS):
        return RedisRefusedError(f"{name} rejected the request: {error}")
    if isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES):
        return RedisAwayError(f"{name}: {error or type(error).__name__}")
    return RedisRefusedError(f"{name} rejected the request: {error}")


def _name(url: str, database: int) -> str:
    parts = urlsplit(url)
    return f"Redis at {parts.hostname}:{parts.port or 6379}, database {database}"


def _with_database(url: str, database: int) -> str:
    """Return a Redis URL with the given database number, which replaces any number in the URL's path or query."""
    parts = urlsplit(url)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "db"])
    return urlunsplit(parts._replace(path=f"/{database}", query=query))
