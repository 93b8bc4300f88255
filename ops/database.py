"""Open connections to a source database, and translate driver errors into messages with a remedy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from config.engines import engine_for
from config.engines.base import Connection, SourceSettings
from config.engines.faults import Fault
from stack.errors import StackError

CONNECT_TRIES = 3
FIRST_PAUSE_S = 0.5
_GROUP_ROWS = 10_000


def connect(settings: SourceSettings, database: str | None = None, schema: str | None = None) -> Connection:
    """Open a connection with time zone UTC and explicit commits, on which wrong values are refused.

    Raises:
        StackError: the server can't be reached (after three tries), rejects the login, or lacks the database.
    """
    engine = engine_for(settings)
    for attempt in range(1, CONNECT_TRIES + 1):
        try:
            return engine.connect(settings, database, schema)
        except engine.errors as error:
            if engine.fault(error) is not Fault.AWAY or attempt == CONNECT_TRIES:
                raise named_error(error, settings, database) from error
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError("unreachable: the last try returns or raises")


@contextmanager
def connected(settings: SourceSettings, database: str | None = None, schema: str | None = None) -> Iterator[Connection]:
    """Yield a connection, and close it at the end of the block; a driver error is raised as `StackError`."""
    connection = connect(settings, database, schema)
    try:
        yield connection
    except connection.engine.errors as error:
        raise named_error(error, settings, database) from error
    finally:
        connection.close()


def fetched(connection: Connection, query: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Run a query, and yield its rows as they arrive, without keeping all of them in memory."""
    with connection.cursor() as cursor:
        cursor.execute(query, values or None)
        while block := cursor.fetchmany(_GROUP_ROWS):
            yield from block


def named_error(error: Exception, settings: SourceSettings, database: str | None = None) -> StackError:
    """Translate a driver error into a message with host, port and remedy."""
    engine = engine_for(settings)
    where, message = f"the database server at {settings.host}:{settings.port}", engine.message(error)
    match engine.fault(error):
        case Fault.AWAY:
            return StackError(f"can't reach {where}: {message}; is it running and reachable?")
        case Fault.UNTRUSTED:
            return StackError(f"{where} was refused: {engine.words.certificate_fault(error)}")
        case Fault.LOGIN:
            return StackError(f"{where} rejected user {settings.user!r}: check {engine.words.login}")
        case Fault.NO_DATABASE:
            return StackError(f"{where} has no database {database!r}: run `millrace dataset init`")
        case Fault.NO_TABLE:
            return StackError(f"{where}: {message}: run `millrace dataset init`")
        case Fault.LOCKED:
            return StackError(f"{where}: another connection held a lock too long: end its transaction and try again")
    return StackError(f"{where}: {message}")
