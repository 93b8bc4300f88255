"""Direct connections to the source database, without Spark, for queries with small results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from batch.errors import BatchError
from batch.storage.retry import with_tries
from config.engines import engine_for
from config.engines.base import Connection, SourceSettings
from config.engines.faults import EngineError


@contextlib.contextmanager
def connected(
    settings: SourceSettings, database: str, schema: str | None = None, *, autocommit: bool = True
) -> Iterator[Connection]:
    """Yield a database connection for reading, with time zone UTC.

    Args:
        autocommit: whether each statement is a transaction.

    Raises:
        BatchError: the server does not answer in three attempts, rejects the login or a statement, or lacks something.
    """
    engine = engine_for(settings)
    connection = with_tries(
        lambda: engine.connect(settings, database, schema, autocommit=autocommit), layer="source", table=""
    )
    try:
        yield connection
    except engine.errors as error:
        where = f"the database server at {settings.host}:{settings.port}"
        raise BatchError(f"{where}: {engine.message(error)}", layer="source") from error
    except EngineError as error:
        raise BatchError(str(error), layer="source") from error
    finally:
        connection.close()
