"""Encoding of a table's states, and the timers derived from the states."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from streams.runtime.state.timers import Timer

log = logging.getLogger(__name__)

State = TypeVar("State")


def no_timer(state: Any) -> Timer | None:
    """Return None; this is the default `timer_of`, for states without timers."""
    return None


class StateCodec(Generic[State]):
    """MessagePack encoding of one state type: a msgspec struct whose fields all have defaults.

    Args:
        state: the struct's class.
        timer_of: returns the timer of a state, or None. A timer's kind may change, but its time must not.
        timers_version: version of `timer_of`; if it differs from a store's version, the store's timers are rebuilt.
        counted_kinds: kinds of timers that are counted when a store opens; there should be few timers of these kinds.
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

    def readable(self, key: bytes, encoded: bytes | None) -> State | None:
        """Decode the state of a key; log an error and return None if it cannot be decoded, and None for no state."""
        if encoded is None:
            return None
        try:
            return self.decode(encoded)
        except msgspec.DecodeError as error:
            log.error("the state of key %r cannot be decoded: %s", key, error)
            return None


class NoState(msgspec.Struct):
    """The empty state of a stateless pipeline."""


STATELESS = StateCodec(NoState)
