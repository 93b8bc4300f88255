"""The only adapter to Redis: scripts for the workers, scripts and scans for the command line.

One time limit covers a whole call (connection, log-in, request, answer). This module never repeats a call, because only
the caller knows the cost of waiting. The scripts name their keys inside a packed argument, which Redis Cluster does not
allow: the adapter is for a single Redis, with or without replicas.
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

CALL_TIMEOUT_S: Final = 2.0
"""A script takes Redis a few milliseconds; a fork or a slow disk may delay it by about a second."""

COMMAND_TIMEOUT_S: Final = 10.0
"""Time limit for the command line, where a person waits and the server may be loaded."""

CONNECTIONS: Final = 8
"""Maximum number of concurrent calls; Redis runs one script at a time anyway."""

SCAN_COUNT: Final = 2_000
"""Number of keys that one step of a scan examines."""

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
    """Redis cannot answer now: it is unreachable, silent, loading its data, out of memory or read-only.

    It is unknown whether the script ran.
    """


class RedisRefusedError(RedisAwayError):
    """Redis rejects the request (wrong password, missing permission or database); waiting alone does not help."""


class Script:
    """A Lua script, identified by its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class ScriptCaller(Protocol):
    """Interface through which services call scripts of Redis."""

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = CALL_TIMEOUT_S) -> Any: ...
    async def close(self) -> None: ...


class RedisClient:
    """A worker's client of one Redis database. Creating it needs neither the server nor an event loop.

    Args:
        url: `redis://` or `rediss://`; a database number in it is ignored.
        database: number of the database.
    """

    def __init__(self, url: str, *, database: int) -> None:
        self._name = _name(url, database)
        # Without the client's own timeouts: on Python 3.11 their `wait_for` can swallow a cancellation.
        pool = redis.asyncio.ConnectionPool.from_url(
            _with_database(url, database),
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),  # by default it would ask eleven times
            protocol=2,  # no push messages, no commands beyond log-in and database on each connection
            driver_info=None,
        )
        self._pool = pool
        self._redis: Any = redis.asyncio.Redis(connection_pool=pool)
        self._free = asyncio.Semaphore(CONNECTIONS)

    def __repr__(self) -> str:
        return self._name

    async def call(self, script: Script, argument: bytes, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Run a script with one argument; return its answer, with texts as bytes. May be cancelled at any point.

        Raises:
            RedisAwayError: Redis does not answer within `timeout_s`, or cannot answer now.
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
    """A command's client of one Redis database; it raises the same errors as `RedisClient`."""

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
        """Run a script with one argument; return its answer, with texts as bytes."""
        try:
            return self._redis.execute_command("EVAL", script.text, 0, argument)
        except (exceptions.RedisError, OSError) as error:
            raise _translated(error, self._name) from None

    def get(self, key: str) -> bytes | None:
        """Value of a key, None if the key does not exist."""
        try:
            value: bytes | None = self._redis.get(key)
        except (exceptions.RedisError, OSError) as error:
            raise _translated(error, self._name) from None
        return value

    def scan(self, pattern: str) -> Iterator[list[bytes]]:
        """Yield matching keys in pages. A key that exists during the whole scan comes at least once, rarely twice."""
        cursor: int | None = None
        while cursor != 0:
            try:
                cursor, keys = self._redis.scan(cursor or 0, match=pattern, count=SCAN_COUNT)
            except (exceptions.RedisError, OSError) as error:
                raise _translated(error, self._name) from None
            if keys:
                yield keys


class Outage:
    """An outage of Redis: from an unanswered call to the next answered one. Its start and its end are logged once.

    Attributes:
        since: start of the outage, Unix time in seconds; None while Redis answers.
    """

    def __init__(self, log: logging.Logger, consequence: str) -> None:
        self.since: float | None = None
        self._log = log
        self._consequence = consequence
        self._began = 0.0

    def begin(self, error: RedisAwayError) -> None:
        """Record an unanswered call, which starts the outage unless it has started already."""
        if self.since is None:
            self.since, self._began = time.time(), time.monotonic()
            self._log.warning("%s; %s", error, self._consequence)

    def end(self) -> float:
        """Record an answered call, which ends the outage; return its duration in seconds, 0 without an outage."""
        if self.since is None:
            return 0.0
        seconds = time.monotonic() - self._began
        self.since = None
        self._log.warning("Redis answers again after %.1f s", seconds)
        return seconds


def _translated(error: Exception, name: str) -> RedisAwayError:
    if isinstance(error, _REFUSALS):
        return RedisRefusedError(f"{name} refuses: {error}")
    if isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES):
        return RedisAwayError(f"{name}: {error or type(error).__name__}")
    return RedisRefusedError(f"{name} refuses: {error}")


def _name(url: str, database: int) -> str:
    parts = urlsplit(url)
    return f"Redis at {parts.hostname}:{parts.port or 6379}, database {database}"


def _with_database(url: str, database: int) -> str:
    """Put a database number into a URL; a number already in its path or query would take precedence, and is removed."""
    parts = urlsplit(url)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "db"])
    return urlunsplit(parts._replace(path=f"/{database}", query=query))
