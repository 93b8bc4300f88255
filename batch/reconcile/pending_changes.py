"""Finds the rows of a table that have changes in Kafka that Bronze has not read yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from batch.errors import BatchError
from batch.reconcile.buckets import key_text
from batch.reconcile.explained import Explained
from config.definition import Table
from streams.adapters.committed_reader import CommittedReader, TopicError

PENDING_CHANGES_MAX: Final = 200_000
"""Maximum number of pending changes to read; above it, every row of the table counts as pending."""


class _Envelope(msgspec.Struct):
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class _Wire(msgspec.Struct):
    payload: _Envelope | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class _TooManyError(Exception):
    pass


_decoder = msgspec.json.Decoder(_Wire)


def images(value: bytes | None, table: Table) -> list[dict[str, Any]]:
    """Return the row before and the row after a change, if present; an empty list if the change is undecodable.

    The columns of the table have their names in the lake.
    """
    if value is None:
        return []
    try:
        wire = _decoder.decode(value)
    except msgspec.DecodeError:
        return []
    envelope = wire.payload or wire
    names = table.lake_columns
    rows = (row for row in (envelope.before, envelope.after) if row is not None)
    return [{names.get(name, name): value for name, value in row.items()} for row in rows]


def pending_changes(bootstrap: str, topic: str, table: Table, positions: Mapping[int, int]) -> Explained:
    """Return the rows that have changes in the topic at or after `positions`, which has one offset per partition.

    Raises:
        BatchError: Kafka does not answer, or the topic does not exist.
    """
    found = Explained()
    visited = 0

    def visit(_key: bytes | None, value: bytes | None) -> None:
        nonlocal visited
        visited += 1
        if visited > PENDING_CHANGES_MAX:
            raise _TooManyError
        rows = images(value, table)
        found.rows.extend(rows)
        found.keys.update(key_text([row.get(name) for name in table.key]) for row in rows)

    try:
        with CommittedReader(bootstrap, topic, "millrace-reconcile", positions) as reader:
            reader.visit_to_end(visit)
    except TopicError as error:
        raise BatchError(str(error), layer="source", table=topic) from None
    except _TooManyError:
        return Explained(is_all=True)
    return found
