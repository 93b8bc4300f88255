"""Goal: the warehouse's client keeps sound connections only, and tells a refused value from a database that is away.

Method: `DatabaseClient` over connections in memory, which raise what PostgreSQL would.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from streams.adapters.postgres import DatabaseAwayError, DatabaseClient, ValueRefusedError

ADDRESS = {"host": "db", "port": 5432, "user": "u", "password": "secret", "dbname": "w"}


class Cursor:
    rowcount = 3

    async def fetchall(self) -> list[tuple[int]]:
        return [(1,)]


class Connection:
    """A connection of the driver. `failures` are raised by the next statements, `at_commit` by the next commit."""

    made: list[Connection]
    failures: list[Exception]
    at_commit: Exception | None

    def __init__(self) -> None:
        self.is_closed = False
        self.log: list[str] = []
        Connection.made.append(self)

    @classmethod
    async def connect(cls, **options: Any) -> Connection:
        if cls.failures:
            raise cls.failures.pop(0)
        assert options["prepare_threshold"] is None
        return cls()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self.log.append("begin")
        yield
        failure, Connection.at_commit = Connection.at_commit, None
        if failure is not None:
            raise failure
        self.log.append("commit")

    async def execute(self, statement: bytes, values: Any) -> Cursor:
        if Connection.failures:
            raise Connection.failures.pop(0)
        self.log.append(statement.decode())
        return Cursor()

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> DatabaseClient:
    Connection.made, Connection.failures, Connection.at_commit = [], [], None
    monkeypatch.setattr(psycopg, "AsyncConnection", Connection)
    return DatabaseClient(ADDRESS, connections=1)


async def run(client: DatabaseClient) -> int:
    async with client.transaction() as transaction:
        assert await transaction.rows("SELECT 1") == [(1,)]
        return await transaction.run("UPDATE", (1,))


async def test_a_connection_is_used_again_and_closed_with_the_client(client: DatabaseClient) -> None:
    assert [await run(client), await run(client)] == [3, 3]
    [connection] = Connection.made
    assert connection.log == ["begin", "SELECT 1", "UPDATE", "commit"] * 2
    await client.close()
    assert connection.is_closed


REFUSED = [
    errors.InvalidTextRepresentation(),
    errors.NumericValueOutOfRange(),
    errors.CharacterNotInRepertoire(),
    errors.NotNullViolation(),
    errors.ProgramLimitExceeded(),
    errors.CardinalityViolation(),
    psycopg.DataError("a value that the driver cannot send"),
]


@pytest.mark.parametrize("error", REFUSED, ids=lambda error: type(error).__name__)
async def test_a_fault_of_a_value_is_a_refusal_and_no_outage(client: DatabaseClient, error: Exception) -> None:
    Connection.failures = [error]
    with pytest.raises(ValueRefusedError):
        await run(client)
    assert client.away_since is None


AWAY = [
    psycopg.OperationalError("connection refused"),
    errors.AdminShutdown(),
    errors.DiskFull(),
    errors.ReadOnlySqlTransaction(),
    errors.UndefinedColumn(),
    errors.LockNotAvailable(),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
async def test_any_other_fault_is_an_outage_until_the_next_success(client: DatabaseClient, error: Exception) -> None:
    await run(client)
    Connection.failures = [error]
    with pytest.raises(DatabaseAwayError):
        await run(client)
    first = Connection.made[0]
    assert first.is_closed
    assert "commit" not in first.log[4:]
    assert client.away_since is not None
    await run(client)
    assert len(Connection.made) == 2
    assert client.away_since is None


async def test_a_commit_without_an_answer_is_an_outage_and_its_connection_is_not_used_again(
    client: DatabaseClient,
) -> None:
    Connection.at_commit = psycopg.OperationalError("the connection is lost")
    with pytest.raises(DatabaseAwayError):
        await run(client)
    assert Connection.made[0].is_closed
    await run(client)


async def test_an_error_of_the_caller_passes_unchanged_and_frees_the_place(client: DatabaseClient) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.transaction():
            raise ZeroDivisionError
    assert Connection.made[0].is_closed
    await run(client)


def test_the_password_is_not_shown(client: DatabaseClient) -> None:
    assert repr(client) == "w at db:5432"
