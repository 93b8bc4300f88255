"""Encoding of a table's states, and the timers that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from streams.runtime.state.timers import Timer

State = TypeVar("State")


def no_timer(state: Any) -> Timer | None:
    """Return None, for states without timers."""
    return None


class StateCodec(Generic[State]):
    """MessagePack for one state type, a msgspec struct whose fields all have defaults.

    Args:
        state: the struct.
        timer_of: returns a state's timer, or None. The time of a key's timer must never change.
        timers_version: must change whenever `timer_of` changes; stored timers of another version are rebuilt.
        counted_kinds: kinds of timers that are counted when a store opens; such timers should be few.
    """

    def __init__(
        self,
        state: type[State],
        *,
        timer_of: Callable[[State], Timer | None] = no_timer,
        timers_version: bytes = b"none",
        counted_kinds: Sequence[int] = (),
    ) -> None:
        self.new = state
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(state).decode
        self.timer_of = timer_of
        self.timers_version = timers_version
        self.counted_kinds = counted_kinds


class NoState(msgspec.Struct):
    """State of a stateless pipeline."""


STATELESS = StateCodec(NoState)
