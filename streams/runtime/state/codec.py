"""How a table's states become bytes, and where they stand in the agenda."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from streams.runtime.state.timers import AgendaEntry

State = TypeVar("State")


def no_entry(state: Any) -> AgendaEntry | None:
    """The agenda entry of states that need no agenda."""
    return None


class StateCodec(Generic[State]):
    """MessagePack for one state type, a msgspec struct whose fields all have defaults.

    Args:
        state: the struct.
        agenda_entry: where a state stands in its partition's agenda, None for nowhere. The time of a key's entry must
            never change.
        agenda_version: changes when `agenda_entry` does; agendas made by another version are made anew.
        counted_kinds: kinds whose entries are counted when a store opens: those of which there are few.
    """

    def __init__(
        self,
        state: type[State],
        *,
        agenda_entry: Callable[[State], AgendaEntry | None] = no_entry,
        agenda_version: bytes = b"none",
        counted_kinds: Sequence[int] = (),
    ) -> None:
        self.new = state
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(state).decode
        self.agenda_entry = agenda_entry
        self.agenda_version = agenda_version
        self.counted_kinds = counted_kinds


class NoState(msgspec.Struct):
    """The state of a pipeline that keeps none."""


STATELESS = StateCodec(NoState)
