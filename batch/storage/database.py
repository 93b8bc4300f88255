"""A plain connection to the source database, for queries with small results."""

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
    """Yield a connection in UTC that reads committed rows; nothing is ever written through it.

    Raises:
        BatchError: the server does not answer (after three tries), or rejects the login or a statement.
    """
    connection = with_tries(lambda: _connect(settings, database), layer="source", table="")
    try:
        yield connection
    except Error as error:
        where = f"the database server at {settings.host}:{settings.port}"
        raise BatchError(f"{where}: {error.msg} (error {error.errno})", layer="source") from error
    finally:
        # Not close(), which first sends a message to the server, so that it fails or waits if the server has ended.
        connection.disconnect() if connection.is_connected() else connection.shutdown()


def _connect(settings: DatabaseSettings, database: str) -> MySQLConnection:
    return MySQLConnection(**settings.connection(database), autocommit=True, connection_timeout=CONNECT_TIMEOUT_S)
