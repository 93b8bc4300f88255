"""Direct connections to the source database, without Spark, for queries with small results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mysql.connector import Error
from mysql.connector.connection import MySQLConnection

from batch.errors import BatchError
from batch.storage.retry import with_tries
from config.settings import DatabaseSettings

CONNECT_TIMEOUT_S = 5


@contextlib.contextmanager
def connected(settings: DatabaseSettings, database: str) -> Iterator[MySQLConnection]:
    """Yield a database connection for reading, with autocommit and time zone UTC.

    Raises:
        BatchError: the server does not answer in three attempts, or it rejects the login or a statement.
    """
    connection = with_tries(lambda: _connect(settings, database), layer="source", table="")
    try:
        yield connection
    except Error as error:
        where = f"the database server at {settings.host}:{settings.port}"
        raise BatchError(f"{where}: {error.msg} (error {error.errno})", layer="source") from error
    finally:
        # close() would first send a message to the server, and so fail or block if the server is down.
        connection.disconnect() if connection.is_connected() else connection.shutdown()


def _connect(settings: DatabaseSettings, database: str) -> MySQLConnection:
    return MySQLConnection(**settings.connection(database), autocommit=True, connection_timeout=CONNECT_TIMEOUT_S)
