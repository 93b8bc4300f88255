"""Decoding of polled batches, so that agents iterate over batches of changes instead of single events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import faust
from faust.types import AppT, EventT, Message

from streams.model.change import Change, ChangeDecoder, Malformed, Tombstone
from streams.model.position import Position
from streams.runtime.partition.batch import RecordBatch, SourceRecord

NO_POSITION: Final[Position] = (0, 0, 0, 0)


class BatchSchema(faust.Schema[Any, Any]):
    """A Faust schema for messages whose value is a `RecordBatch`: it decodes the records of the batch.

    Args:
        decoder: decodes one record, and returns a `Malformed` if the record is unreadable. Without a decoder, each
            record becomes a change whose row is the consumed record.
    """

    def __init__(self, decoder: ChangeDecoder | None = None) -> None:
        super().__init__(key_type=bytes, value_type=bytes)
        self.decoder = decoder

    def compile(self, app: AppT, **_: Any) -> Any:
        """Return the function that converts a Faust message to the event that agents receive."""
        decoder, create_event = self.decoder, app.create_event

        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:
            batch: RecordBatch = message.value  # type: ignore[assignment]
            batch.changes = changes_of(batch.records, decoder)
            return create_event(None, batch, message.headers, message)

        return decode


def changes_of(
    records: Sequence[SourceRecord], decoder: ChangeDecoder | None
) -> Sequence[Change[Any] | Tombstone | Malformed]:
    """Decode records. Without a decoder (for stateless pipelines), wrap each record in a change with an empty key."""
    if decoder is None:
        return [Change(b"", record, False, NO_POSITION) for record in records]
    return [decoder(record.key, record.value) for record in records]
