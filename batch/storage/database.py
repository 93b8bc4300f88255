"""A plain connection to the source database, for what is asked of it in a few rows."""

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
    """A connection in UTC whose reads see committed rows; nothing is ever written through it.

    Raises:
        BatchError: the server does not answer (after three tries), refuses the login or a statement.
    """
    connection = with_tries(lambda: _connect(settings, database), layer="source", table="")
    try:
        yield connection
    except Error as error:
        where = f"the database server at {settings.host}:{settings.port}"
        raise BatchError(f"{where}: {error.msg} (error {error.errno})", layer="source") from error
    finally:
        # Not close(): it says good-bye to the server first, which raises or waits when the server is gone.
        connection.disconnect() if connection.is_connected() else connection.shutdown()


def _connect(settings: DatabaseSettings, database: str) -> MySQLConnection:
    return MySQLConnection(**settings.connection(database), autocommit=True, connection_timeout=CONNECT_TIMEOUT_S)
