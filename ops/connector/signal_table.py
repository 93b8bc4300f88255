"""The table `millrace_signal` in a dataset's database, through whose rows the connector is asked to read a table.

The connector reads them in the database's log, like all changes, so a signal is neither lost nor repeated when the
connector is away or killed. While it reads a table, it writes rows of its own: they mark, in the log, between which
changes a part of the table was read. A transform sends all rows of the table to the topic `source_signals`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid4, uuid5

from config.definition import Definition
from config.engines.base import Connection
from config.naming import source_schema
from ops.connector.settings import SIGNAL_TABLE

_POSITION_ID: Final = "millrace-position"
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS {} (id varchar(42) NOT NULL PRIMARY KEY, type varchar(32) NOT NULL, data text)"
)


def create_signal_table(connection: Connection) -> None:
    """Create the table in the connection's database, unless it exists."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLE.format(connection.quoted(SIGNAL_TABLE)))
    connection.commit()


def first_read_id(prefix: str, table: str) -> str:
    """Return the id of the signal that asks for the first read of a table, by the connector with this name."""
    return str(uuid5(NAMESPACE_URL, f"{prefix}/{table}"))


def new_signal_id() -> str:
    """Return an id for a signal that may be given several times."""
    return str(uuid4())


def read_request(definition: Definition, table: str, where: str | None = None) -> dict[str, Any]:
    """Build the content of a signal that concerns the incremental read of a table.

    Args:
        where: SQL condition for the rows to read; None: all.
    """
    name = f"{source_schema(definition)}.{table}"
    condition = {"additional-conditions": [{"data-collection": name, "filter": where}]} if where else {}
    return {"type": "incremental", "data-collections": [name], **condition}


def give_signal(connection: Connection, signal_id: str, kind: str, content: Mapping[str, Any]) -> bool:
    """Give the connector a signal, and commit it; return False if the signal `signal_id` was given before."""
    table = connection.quoted(SIGNAL_TABLE)
    if connection.rows(f"SELECT 1 FROM {table} WHERE id = %s", (signal_id,)):  # noqa: S608 - an identifier
        connection.rollback()
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (id, type, data) VALUES (%s, %s, %s)",  # noqa: S608
            (signal_id, kind, json.dumps(content)),
        )
    connection.commit()
    return True


def prod(connection: Connection) -> None:
    """Change a row without a meaning, so that the connector commits its position, and commit it.

    Without a change of the database, a connector whose snapshot had no row commits none.
    """
    content = {"message": f"asked for the position at {time.time_ns()}"}  # which the connector only logs
    if not give_signal(connection, _POSITION_ID, "log", content):
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {connection.quoted(SIGNAL_TABLE)} SET data = %s WHERE id = %s",  # noqa: S608
                (json.dumps(content), _POSITION_ID),
            )
        connection.commit()
