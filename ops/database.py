"""Open connections to a MySQL or MariaDB source, and translate driver errors into messages with a remedy.

The driver's pure-Python connection is used everywhere, so that all machines behave alike, with or without the compiled
extension. The collation is set because the driver's default depends on the server, and MySQL 8's default
(utf8mb4_0900_ai_ci) is unknown to MariaDB. The SQL mode is set because a server that is not strict silently truncates
texts and zeroes dates; the chosen mode keeps backslash escapes on, which `text_literal` relies on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mysql.connector import Error, InterfaceError, OperationalError, errorcode
from mysql.connector.connection import MySQLConnection

from config.settings import DatabaseSettings
from stack.errors import StackError

CONNECT_TRIES = 3
CONNECT_TIMEOUT_S = 5
FIRST_PAUSE_S = 0.5
LOCKING = "LOCK IN SHARE MODE"
_GROUP_ROWS = 10_000
_SHORT_LOCK_WAIT_S = 5
_TRANSIENT = frozenset(
    {
        errorcode.CR_CONNECTION_ERROR,
        errorcode.CR_CONN_HOST_ERROR,
        errorcode.CR_SERVER_GONE_ERROR,
        errorcode.CR_SERVER_LOST,
        errorcode.CR_SERVER_LOST_EXTENDED,
        errorcode.ER_CON_COUNT_ERROR,
        errorcode.ER_SERVER_SHUTDOWN,
    }
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"})


def connect(settings: DatabaseSettings, database: str | None = None) -> MySQLConnection:
    """Open a connection with time zone UTC, strict SQL mode and explicit commits.

    Raises:
        StackError: the server can't be reached (after three tries), rejects the login, or lacks the database.
    """
    for attempt in range(1, CONNECT_TRIES + 1):
        try:
            return MySQLConnection(
                **settings.connection(database),
                sql_mode="TRADITIONAL",
                autocommit=False,
                connection_timeout=CONNECT_TIMEOUT_S,
            )
        except Error as error:
            if not is_transient(error) or attempt == CONNECT_TRIES:
                raise named_error(error, settings, database) from error
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError("unreachable: the last try returns or raises")


def is_transient(error: Error) -> bool:
    """Whether the server was unreachable or the connection was lost, so that the statement can be retried."""
    # If the driver already knows that the connection is lost, it raises an error without a number.
    unnumbered = error.errno in (-1, None) and isinstance(error, OperationalError | InterfaceError)
    return unnumbered or error.errno in _TRANSIENT


@contextmanager
def connected(settings: DatabaseSettings, database: str | None = None) -> Iterator[MySQLConnection]:
    """Yield a connection, and close it at the end of the block; a driver error is raised as `StackError`."""
    connection = connect(settings, database)
    try:
        yield connection
    except Error as error:
        raise named_error(error, settings, database) from error
    finally:
        # Not close(): it notifies the server first, which raises or blocks when the server is gone.
        connection.disconnect() if connection.is_connected() else connection.shutdown()


@contextmanager
def consistent_snapshot(connection: MySQLConnection) -> Iterator[None]:
    """Let all queries of the block see the same state of the database, that of the block's beginning."""
    connection.rollback()
    connection.start_transaction(consistent_snapshot=True, isolation_level="REPEATABLE READ")
    try:
        yield
    finally:
        connection.rollback()


@contextmanager
def locking_reads(connection: MySQLConnection) -> Iterator[None]:
    """Let queries of the block that end in `LOCKING` see the newest commits, and wait for those that are being made.

    A change may be in Kafka before its commit is visible to other queries: the database writes its log first. Until
    then, the rows are locked.
    """
    connection.rollback()
    connection.start_transaction(isolation_level="READ COMMITTED")  # locks rows that exist, and no gaps between them
    try:
        yield
    finally:
        connection.rollback()


@contextmanager
def short_lock_waits(connection: MySQLConnection) -> Iterator[None]:
    """Let queries of the block wait for another connection's locks for a few seconds only, not for a minute."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {_SHORT_LOCK_WAIT_S}")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT")


def fetched(connection: MySQLConnection, query: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Run a query, and yield its rows as they arrive, without keeping all of them in memory."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        while block := cursor.fetchmany(_GROUP_ROWS):
            yield from block


def named_error(error: Error, settings: DatabaseSettings, database: str | None = None) -> StackError:
    """Translate a driver error into a message with host, port and remedy."""
    where = f"the database server at {settings.host}:{settings.port}"
    if is_transient(error):
        return StackError(f"can't reach {where}: {error.msg}; is it running and reachable?")
    if error.errno == errorcode.ER_ACCESS_DENIED_ERROR:
        return StackError(f"{where} rejected user {settings.user!r}: check MYSQL_USER and MYSQL_PASSWORD")
    if error.errno == errorcode.ER_BAD_DB_ERROR:
        return StackError(f"{where} has no database {database!r}: run `millrace dataset init`")
    if error.errno == errorcode.ER_NO_SUCH_TABLE:
        return StackError(f"{where}: {error.msg}: run `millrace dataset init`")
    if error.errno == errorcode.ER_LOCK_WAIT_TIMEOUT:
        return StackError(f"{where}: another connection held a lock for too long: end its transaction and try again")
    return StackError(f"{where}: {error.msg} (error {error.errno})")


def quoted(identifier: str) -> str:
    """Quote an identifier from a definition for SQL; definitions allow only letters, digits and underscores."""
    assert _IDENTIFIER.fullmatch(identifier), identifier
    return f"`{identifier}`"


def text_literal(text: str) -> str:
    """Quote a text as an SQL literal, for bulk statements, in which binding each value would be too slow."""
    return f"'{text.translate(_ESCAPES)}'"
