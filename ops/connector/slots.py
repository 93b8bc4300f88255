"""The slot of a connector in PostgreSQL's log: how far it has been read, and whether it fits what Connect knows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from config.engines.base import Connection
from stack.errors import StackError

_RELEASE_S: Final = 30.0
_POLL_S: Final = 0.2

BEGIN_EPOCH: Final = "begin a new epoch with `millrace connector epoch begin`, which reads all tables again"

_SLOT: Final = """
SELECT active_pid, restart_lsn - '0/0'::pg_lsn, confirmed_flush_lsn - '0/0'::pg_lsn, wal_status,
  pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)
FROM pg_replication_slots WHERE slot_name = %s
"""

# The number of a process may be given again, so the times of its start and of the server's belong to it. Without the
# role pg_read_all_stats, the first of them is NULL.
_READER: Final = """
SELECT s.active_pid, a.backend_start, pg_postmaster_start_time()
FROM pg_replication_slots AS s LEFT JOIN pg_stat_activity AS a ON a.pid = s.active_pid
WHERE s.slot_name = %s AND s.active_pid IS NOT NULL
"""

_OPEN: Final = """
SELECT pid, usename, xact_start FROM pg_stat_activity
WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start
"""


# Only slots of this database: another one may have a dataset of the same name.
_NAMES: Final = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() ORDER BY slot_name"


class Slot(Struct, frozen=True, kw_only=True):
    """A slot in PostgreSQL's log; places are in bytes since the log began.

    Attributes:
        reader: process of the server that sends the log to a reader; None if nobody reads.
        kept_from: place from which on the server keeps its log for this slot.
        confirmed: place up to which the reader needs nothing more.
        wal_status: whether the log that the slot needs is still there: reserved, extended, unreserved or lost.
        lag_bytes: bytes of the log after the confirmed place.
        kept_bytes: bytes of the log that the server keeps for this slot.
    """

    name: str
    reader: int | None
    kept_from: int | None
    confirmed: int | None
    wal_status: str | None
    lag_bytes: int | None
    kept_bytes: int | None


def read_slot(connection: Connection, name: str) -> Slot | None:
    """Return the slot `name`; None if there is none."""
    rows = connection.rows(_SLOT, (name,))
    connection.rollback()
    if not rows:
        return None
    reader, *places, status, lag, kept = rows[0]
    kept_from, confirmed, lag_bytes, kept_bytes = (None if n is None else int(n) for n in (*places, lag, kept))
    return Slot(
        name=name,
        reader=reader,
        kept_from=kept_from,
        confirmed=confirmed,
        wal_status=status,
        lag_bytes=lag_bytes,
        kept_bytes=kept_bytes,
    )


def reader_of(connection: Connection, name: str) -> tuple[Any, ...] | None:
    """Return what identifies the connection that reads a slot now: no later one has the same; None if nobody reads."""
    rows = connection.rows(_READER, (name,))
    connection.rollback()
    return tuple(rows[0]) if rows else None


def slot_names(connection: Connection) -> list[str]:
    """Return the names of the slots in the log of the connection's database."""
    rows = connection.rows(_NAMES)
    connection.rollback()
    return [name for (name,) in rows]


def committed_place(offsets: Sequence[Mapping[str, Any]], prefix: str) -> int | None:
    """Return the place in the log up to which Connect has published the changes of the connector `prefix`.

    Args:
        offsets: the connector's source positions, as Connect's REST API returns them.
    """
    for item in offsets:
        if item["partition"].get("server") == prefix and item["offset"]:
            place = item["offset"].get("lsn")
            return None if place is None else int(place)
    return None


def slot_faults(slot: Slot | None, committed: int | None, *, has_records: bool, is_ours: bool) -> Iterator[str]:
    """List why a connector that starts now would not follow the log without a gap, each with the remedy.

    Args:
        slot: the connector's slot; None if there is none.
        committed: place up to which Connect has published the changes; None if it has no place of this connector.
        has_records: whether the change topics have records.
        is_ours: whether a task of the connector is running, which then is the slot's reader.
    """
    begin = BEGIN_EPOCH
    if is_ours:
        return
    if slot is None:
        if has_records or committed is not None:
            yield (
                "the connector would begin again, because its replication slot does not exist, and its changes would "
                f"count as older than those in the topics: {begin}"
            )
        return
    if slot.reader is not None:
        yield (
            f"the replication slot {slot.name} is being read by another program (process {slot.reader} of the "
            "database server): end that program; two readers of one slot lose changes"
        )
    if slot.wal_status == "lost":
        yield lost_log(slot)
    elif committed is None and has_records:
        yield f"Connect has no position of the connector, which would begin again over the topics' changes: {begin}"
    elif committed is not None and slot.confirmed is not None and slot.confirmed > committed:
        yield (
            f"the replication slot {slot.name} stands at {lsn_text(slot.confirmed)}, beyond {lsn_text(committed)}, up "
            f"to which the changes were published: those in between are lost for the connector; {begin}"
        )


def lost_log(slot: Slot) -> str:
    """Say that the server has deleted a part of the log that nobody has read, and what to do."""
    return f"the database server has deleted the log that {slot.name} needs (max_slot_wal_keep_size): {BEGIN_EPOCH}"


def lsn_text(place: int) -> str:
    """Return a place in the log as PostgreSQL writes it."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def blocking_transactions(connection: Connection) -> list[str]:
    """Describe the open transactions that have changed something: a new slot waits until they have ended."""
    rows = connection.rows(_OPEN)
    connection.rollback()
    return [
        f"a new replication slot waits for the transaction of process {pid} (user {user}), open since {began}; end "
        f"it, or run SELECT pg_terminate_backend({pid})"
        for pid, user, began in rows
    ]


def drop_slot(connection: Connection, name: str) -> bool:
    """Drop a slot once its reader has let it go, and the publication; return False if there was no such slot.

    Raises:
        StackError: the slot is still being read.
    """
    deadline = time.monotonic() + _RELEASE_S
    while (slot := read_slot(connection, name)) is not None and slot.reader is not None:
        if time.monotonic() > deadline:
            raise StackError(f"the replication slot {name} is still being read by process {slot.reader}: end it")
        time.sleep(_POLL_S)
    with connection.cursor() as cursor:
        if slot is not None:
            cursor.execute("SELECT pg_drop_replication_slot(%s)", (name,))
        cursor.execute(f"DROP PUBLICATION IF EXISTS {connection.engine.quoted(name)}")
    connection.commit()
    return slot is not None
