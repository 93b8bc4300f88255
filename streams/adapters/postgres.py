"""An asynchronous client of a PostgreSQL database, for workers whose sink it is.

The client keeps a few connections, and closes one as soon as anything on it fails. It never tries a transaction again,
because only the caller knows whether the answer of a commit was lost. The server ends transactions in which nothing
happens for a while, so that a suspended worker does not hold its locks for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

import psycopg

CONNECT_TIMEOUT_S: Final = 5
IDLE_IN_TRANSACTION_S: Final = 10
"""Time after which the server ends a connection that does nothing within a transaction."""

LOCK_WAIT_S: Final = 20
"""Limit of waiting for a lock; longer than a suspended worker may hold one."""

STATEMENT_LIMIT_S: Final = 60

_OPTIONS: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "lock_timeout": f"{LOCK_WAIT_S}s",
    "statement_timeout": f"{STATEMENT_LIMIT_S}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
}

_OF_VALUES: Final = ("21", "22", "23", "54")
"""Classes of errors that are a value's fault: cardinality, data, constraints, and limits such as the size of a key."""


class DatabaseAwayError(Exception):
    """The database cannot serve a statement now: it is unreachable, full or read-only, or its tables are different.

    The statement, or the commit, may or may not have taken effect.
    """


class ValueRefusedError(Exception):
    """The database refuses a value of the statement; the connection's transaction can only be rolled back."""


class Transaction:
    """An open transaction; its end is that of the block in which `DatabaseClient.transaction` yields it."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; return the number of rows that it touched or found."""
        with _named_errors():
            cursor = await self._connection.execute(statement.encode(), values or None)
            return cursor.rowcount

    async def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query, and return its rows."""
        with _named_errors():
            cursor = await self._connection.execute(statement.encode(), values or None)
            return await cursor.fetchall()

    async def run_apart(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement inside a savepoint, so that the transaction goes on if a value is refused."""
        with _named_errors():
            async with self._connection.transaction():
                cursor = await self._connection.execute(statement.encode(), values or None)
            return cursor.rowcount


class DatabaseClient:
    """An asynchronous client of one database.

    Args:
        address: host, port, user, password and dbname.
        connections: maximum number of connections, and so of transactions at a time.

    Attributes:
        away_since: start of the current outage, as Unix time in seconds; None if the last statement succeeded.
    """

    def __init__(self, address: Mapping[str, Any], *, connections: int) -> None:
        self.away_since: float | None = None
        self._address = dict(address)
        self._free = asyncio.Semaphore(connections)
        self._idle: list[psycopg.AsyncConnection[Any]] = []

    def __repr__(self) -> str:
        return f"{self._address['dbname']} at {self._address['host']}:{self._address['port']}"

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Yield a transaction, which is committed at the end of the block, or rolled back if the block raises.

        Raises:
            ValueRefusedError: the database refuses a value.
            DatabaseAwayError: it cannot serve a statement, or did not answer the commit.
        """
        async with self._free:
            with self._noted(), _named_errors():
                async with self._leased() as connection, connection.transaction():
                    yield Transaction(connection)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Note begin and end of an outage."""
        try:
            yield
        except DatabaseAwayError:
            self.away_since = self.away_since or time.time()
            raise
        self.away_since = None

    @contextlib.asynccontextmanager
    async def _leased(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Yield a connection, and keep it for the next transaction unless the block raises."""
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            yield connection
        except BaseException:
            await connection.close()
            raise
        self._idle.append(connection)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            **self._address,
            options=" ".join(f"-c {name}={value}" for name, value in _OPTIONS.items()),
            application_name="millrace",
            connect_timeout=CONNECT_TIMEOUT_S,
            tcp_user_timeout=IDLE_IN_TRANSACTION_S * 1000,
            autocommit=True,  # transactions begin and end explicitly
            prepare_threshold=None,  # prepared statements do not survive a connection pooler
        )

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._idle.pop().close()


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate
        text = error.diag.message_primary or " ".join(str(error).split())
        is_of_value = isinstance(error, psycopg.DataError) if state is None else state.startswith(_OF_VALUES)
        if is_of_value:
            raise ValueRefusedError(text) from error
        raise DatabaseAwayError(text + (f" (SQLSTATE {state})" if state else "")) from error
