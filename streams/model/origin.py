"""Where a topic's changes come from: the server, and the epoch and file of its log up to which they have been seen.

Positions can be compared only within the log of one server. If the source fails over to another server, or its log
begins again, the new positions may be lower than the known ones, and every change would be taken for an old one. So a
change must not be processed if, in its own epoch,

- another server logged it than the one whose changes the topic contains; or
- its file has a lower number than the known one, and yet the change is newer, by the source's clock, than every change
  before it.

A change that was delivered before is not affected: the connector may repeat changes of lower files after a crash, but
their times are not newer. Nor is a deletion that a sweep appends, which is new but has the place of an old change. The
rows that a snapshot reads name no server, and have the place at which the log then ends. A change of an earlier epoch
is never affected: it counts as older than all changes of the newest epoch anyway.

A file counts as reached only by a change that is not older than those before it. So a single record with an invented
file and an old time, as somebody may write by hand, does not make the changes after it suspicious.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Struct

from streams.model.change import Change
from streams.model.position import SWEPT_ROW


class Origin(Struct, frozen=True, omit_defaults=True):
    """The origin of a topic's changes, up to some offset.

    Attributes:
        epoch: the newest epoch that was seen.
        file: the highest file number that the log of this epoch has reached.
        server_id: the server whose changes the topic contains in this epoch; 0 if only snapshots were seen.
        newest_ms: the newest time of these changes by the source's clock; 0 if no time is known.
    """

    epoch: int
    file: int
    server_id: int = 0
    newest_ms: int = 0

    def text(self) -> str:
        """Return the origin as JSON, to commit it together with an offset."""
        return msgspec.json.encode(self).decode()


def parse_origin(text: str) -> Origin | None:
    """Return the origin that was committed with an offset; None if there is none, as after a reset of the offsets."""
    try:
        return msgspec.json.decode(text, type=Origin)
    except msgspec.DecodeError:
        return None


def contradiction(known: Origin, change: Change[Any], at_ms: int, servers: Collection[int] = ()) -> str | None:
    """Return why a change cannot be of the same log as the known ones of its epoch; None if it can be.

    Args:
        known: the origin of the topic's changes before this one.
        change: the change.
        at_ms: time of the change by the source's clock; 0 if it is unknown or cannot be right.
        servers: ids of the servers whose changes one log may contain; if empty, only those of one server.
    """
    epoch, file, _, row = change.position
    server_id = change.server_id
    if epoch != known.epoch or row == SWEPT_ROW:
        return None
    if server_id and servers and server_id not in servers:
        return f"server {server_id} is not one of SOURCE_SERVERS"
    if server_id and known.server_id not in (0, server_id) and not servers:
        return f"the changes before it come from server {known.server_id}, not {server_id}"
    if file < known.file and at_ms > known.newest_ms:
        return f"the changes before it have reached file {known.file}, and yet it is newer than all of them"
    return None


def followed(known: Origin | None, change: Change[Any], at_ms: int) -> Origin:
    """Return the origin after a change that does not contradict it.

    Args:
        known: the origin before this change; None if it is not known.
        change: the change.
        at_ms: time of the change by the source's clock; 0 if it is unknown or cannot be right.
    """
    epoch, file, _, _ = change.position
    server_id = change.server_id
    if known is None or epoch > known.epoch:
        return Origin(epoch, file, server_id, at_ms)
    if epoch < known.epoch:
        return known
    reached = file > known.file and at_ms >= known.newest_ms
    return Origin(epoch, file if reached else known.file, known.server_id or server_id, max(at_ms, known.newest_ms))
