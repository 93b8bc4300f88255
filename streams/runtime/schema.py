"""Decodes a polled batch for the agents, so that they iterate batches of changes instead of single events."""

from __future__ import annotations

from typing import Any

import faust
from faust.types import AppT, EventT, Message

from streams.model.change import ChangeDecoder
from streams.runtime.batch import Batch


class BatchSchema(faust.Schema[Any, Any]):
    """Decodes every record of a message whose value is a `Batch`; what can't be read becomes a `Malformed`."""

    def __init__(self, decoder: ChangeDecoder) -> None:
        super().__init__(key_type=bytes, value_type=bytes)
        self.decoder = decoder

    def compile(self, app: AppT, **_: Any) -> Any:
        """Return the function by which Faust's conductor turns a message into the event that agents receive."""
        decoder, create_event = self.decoder, app.create_event

        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:
            batch: Batch = message.value  # type: ignore[assignment]
            batch.changes = [decoder(record.key, record.value) for record in batch.records]
            return create_event(None, batch, message.headers, message)

        return decode
