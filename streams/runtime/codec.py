"""How a table's states become bytes."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

State = TypeVar("State")


class StateCodec(Generic[State]):
    """MessagePack for one state type, a msgspec struct whose fields all have defaults."""

    def __init__(self, state: type[State]) -> None:
        self.new = state
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(state).decode
