"""Incremental reads: the connector reads a table in parts while it goes on following the log.

A part is read between two rows that the connector writes into the log. A row of the part that was changed in between is
left out, as its change is newer; the others are published at the place of the second of these rows: so each is newer
than every earlier change in the log, and older than every later one. The connector commits with each part how far it
has come, so it usually goes on there after it was killed, and does not begin again, unlike with its initial snapshot.

That the connector has ended a read does not mean that it has read all rows. Debezium gives a read up, and goes on
without it, if the database rejects a statement or is restarted; and it forgets a read if it is killed again before it
has published the first part after a restart. So the keys of the rows are compared with those in the topic.

A dataset's definition may leave a table out of the initial snapshot (`snapshot: incremental`). It is read in this way
once the connector follows the log: so a large table does not hold up the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from config.definition import Definition
from config.engines.base import Connection, SourceSettings
from config.engines.faults import EngineError
from ops.connector.apply import failure_of, has_snapshot_ended
from ops.connector.rest import ConnectClient
from ops.connector.settings import SIGNAL_SETTING, connector_name
from ops.connector.signal_table import (
    create_signal_table,
    first_read_id,
    give_signal,
    new_signal_id,
    prod,
    read_request,
)
from ops.connector.sweep import source_keys
from ops.database import connected
from stack.errors import StackError
from streams.model.position import binlog_file_number

FORGOTTEN_S: Final = 60.0
"""Seconds after which a connector that was restarted in a read, and has not gone on with it, has forgotten it."""

RIGHTS: Final = (
    "its account needs the rights SELECT on the table, and INSERT and DELETE on the table millrace_signal; Connect's "
    "log names the one that is missing"
)
"""What the connector needs for a read; without it, Debezium gives each read up, and goes on."""

_POLL_S: Final = 0.5
_PROD_S: Final = 2.0
_COLLECTIONS: Final = "incremental_snapshot_collections"

Place = tuple[int, int]
"""A place in the source's log, which are the second and third part of a position."""


class Reads:
    """The incremental reads of a dataset's tables by its connector."""

    def __init__(self, definition: Definition, database: SourceSettings, connect: ConnectClient) -> None:
        self._definition = definition
        self._database = database
        self._connect = connect
        self._name = connector_name(definition.name)
        self._resuming_since: float | None = None

    def prepare(self) -> None:
        """Create the table of signals; in PostgreSQL, `connector apply` creates it with the publication."""
        if self._definition.engine != "postgres":
            with self._connected() as connection:
                create_signal_table(connection)

    def await_streaming(self, limit_s: float) -> bool:
        """Wait until the connector follows the log; return False if its snapshot takes longer than the limit.

        Raises:
            StackError: the connector failed.
        """
        deadline, prod_at = time.monotonic() + limit_s, 0.0
        while not has_snapshot_ended(self._connect, self._name, self._prefix):
            failure = failure_of(self._connect.status(self._name))
            if failure:
                raise StackError(f"{self._name} failed during its snapshot: {failure}")
            if time.monotonic() >= deadline:
                return False
            if time.monotonic() >= prod_at:
                prod_at = time.monotonic() + _PROD_S
                with self._connected() as connection:
                    prod(connection)
            time.sleep(_POLL_S)
        return True

    def begin_first(self) -> list[str]:
        """Ask for each table that the initial snapshot left out, unless that was done; return those asked for now.

        A signal that is older than the connector's snapshot would be lost.

        Raises:
            StackError: the connector does not follow the log, or was not told where signals are.
        """
        tables, prefix = [table.name for table in self._definition.incremental_tables], self._prefix
        if not tables:
            return []
        self._require_signals()
        with self._connected() as connection:
            return [
                table
                for table in tables
                if give_signal(
                    connection,
                    first_read_id(prefix, table),
                    "execute-snapshot",
                    read_request(self._definition, table),
                )
            ]

    def begin(self, table: str, where: str | None = None) -> set[tuple[str, ...]]:
        """Ask for a table, or for some of its rows; return the keys of the rows that it has now.

        Raises:
            StackError: the connector does not follow the log, or the database rejects the condition.
        """
        self._require_signals()
        with self._connected() as connection:
            keys = source_keys(connection, self._definition.table(table), where)
            connection.rollback()
            request = read_request(self._definition, table, where)
            give_signal(connection, new_signal_id(), "execute-snapshot", request)
        return keys

    def keys(self, table: str) -> set[tuple[str, ...]]:
        """Return the keys of the rows that a table has now."""
        with self._connected() as connection:
            return source_keys(connection, self._definition.table(table))

    def stop(self, table: str) -> None:
        """Ask the connector to end the reads of a table; the rows that were read stay."""
        self._require_signals()
        with self._connected() as connection:
            give_signal(connection, new_signal_id(), "stop-snapshot", read_request(self._definition, table))

    def log_end(self) -> Place:
        """Return a place in the log that follows all signals given so far, and that the connector will pass."""
        with self._connected() as connection:
            try:
                place = connection.engine.log_place(connection)
            except EngineError as error:
                raise StackError(str(error)) from None
            connection.commit()
            prod(connection)
        return place if self._definition.engine != "postgres" else (0, place[0])

    def is_reading(self, table: str) -> bool:
        """Whether the connector is reading a table, or will; one that a restart made it forget counts a while."""
        return self._is_reading(self._position(), table)

    def await_place(self, place: Place, *, limit_s: float = 60.0) -> None:
        """Wait until the connector has processed everything up to a place in the log.

        Raises:
            StackError: the connector failed, or it takes longer than the limit.
        """
        deadline = time.monotonic() + limit_s
        while (reached := place_of(self._position())) is None or reached < place:
            self.require_well()
            if time.monotonic() >= deadline:
                raise StackError(f"{self._name} has not followed the log to its end within {limit_s:g} s")
            time.sleep(_POLL_S)

    def require_well(self) -> None:
        """Raise `StackError` if the connector or its task has failed."""
        failure = failure_of(self._connect.status(self._name))
        if failure:
            raise StackError(f"{self._name} failed: {failure}; the read goes on once it runs again")

    def follow(self, table: str, end: Place, *, on_poll: Callable[[], None], silent_limit_s: float = 120.0) -> None:
        """Wait until the connector has ended the reads of a table that were asked for before the place `end`.

        An outage of Connect is waited for: the read goes on where it was.

        Raises:
            StackError: the connector failed, or Connect does not answer for too long.
        """
        heard_at = time.monotonic()
        while True:
            try:
                failure = failure_of(self._connect.status(self._name))
                position = self._position()
                heard_at = time.monotonic()
            except StackError:
                if time.monotonic() - heard_at > silent_limit_s:
                    raise
            else:
                if failure:
                    raise StackError(f"{self._name} failed: {failure}; the read goes on once it runs again")
                reached = place_of(position)
                if reached is not None and reached >= end and not self._is_reading(position, table):
                    return
            on_poll()
            time.sleep(_POLL_S)

    def _is_reading(self, position: Mapping[str, Any], table: str) -> bool:
        tables, now = tables_read(position), time.monotonic()
        if tables or not is_resuming(position):
            self._resuming_since = None
            return table in tables
        self._resuming_since = self._resuming_since or now
        return now - self._resuming_since < FORGOTTEN_S

    def _require_signals(self) -> None:
        settings = self._connect.config(self._name)
        if settings is None:
            raise StackError(f"there is no connector {self._name}: create it with `millrace connector apply`")
        if SIGNAL_SETTING not in settings:
            raise StackError(f"{self._name} takes no signals yet: run `millrace connector apply`")
        self.prepare()
        if not self.await_streaming(_PROD_S):
            raise StackError(f"{self._name} is reading its initial snapshot, or is not running: signal it afterwards")

    @property
    def _prefix(self) -> str:
        settings = self._connect.config(self._name) or {}
        return settings.get("topic.prefix", self._definition.name)

    def _position(self) -> Mapping[str, Any]:
        return position_of(self._connect.offsets(self._name), self._prefix)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with connected(self._database, self._definition.database, self._definition.schema) as connection:
            yield connection


def position_of(offsets: Sequence[Mapping[str, Any]], prefix: str) -> Mapping[str, Any]:
    """Return the position of the connector with this name; empty if it has none.

    Args:
        offsets: the connector's source positions, as Connect's REST API returns them.
    """
    found = (item["offset"] for item in offsets if item["partition"].get("server") == prefix and item["offset"])
    return next(found, {})


def tables_read(position: Mapping[str, Any]) -> list[str]:
    """List the tables that a connector at this position is reading incrementally, without database or schema."""
    found: list[Mapping[str, str]] = json.loads(position.get(_COLLECTIONS) or "[]")
    return [item[f"{_COLLECTIONS}_id"].rpartition(".")[2] for item in found]


def is_resuming(position: Mapping[str, Any]) -> bool:
    """Whether a connector at this position was restarted in a read, and has not published a part since.

    Until then, Debezium commits positions that do not name the tables; if it is killed now, it forgets them.
    """
    return str(position.get("snapshot", "")).upper() == "INCREMENTAL" and not tables_read(position)


def place_of(position: Mapping[str, Any]) -> Place | None:
    """Return the place in the log of a position; None if it has none."""
    if position.get("file"):
        return binlog_file_number(position["file"]), int(position["pos"])
    return (0, int(position["lsn"])) if position.get("lsn") is not None else None
