"""What a sick network does to the bytes of a connection."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from enum import StrEnum
from typing import Any, Final

LATENCY_S: Final = 1.0
CUT_SHARE: Final = 0.1
"""Share of the writes at which a connection is cut while connections are reset."""

SLICE_BYTES: Final = 1_000
SLICE_PAUSE_S: Final = 0.001
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Trouble(StrEnum):
    """Kinds of trouble, named after those of Toxiproxy.

    In a black hole, connections stay open, but nothing arrives any more; those that have lost something stay so when
    the trouble is over, as behind a firewall that has forgotten them.
    """

    LATENCY = "latency of 1 s"
    RESET = "reset"
    BLACK_HOLE = "black hole"
    SLICER = "slicer"


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side gets a reset instead of an end."""
    peer: Any = writer.transport.get_extra_info("socket")
    if peer is not None and peer.fileno() >= 0:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


class Weather:
    """The trouble that all connections of a proxy have at present; None if the network is well."""

    def __init__(self) -> None:
        self.trouble: Trouble | None = None
        self.draw = random.Random(0)  # noqa: S311 - faults by chance, no secrets


class Wire:
    """One direction of a connection: a writer whose bytes arrive as the weather allows."""

    def __init__(self, writer: asyncio.StreamWriter, weather: Weather) -> None:
        self._writer = writer
        self._weather = weather
        self._is_black = False
        self._slices = bytearray()
        self._arrives_at = 0.0

    def write(self, content: bytes) -> None:
        """Pass bytes on, now or later or never; call `drain` afterwards."""
        trouble = self._weather.trouble
        if self._is_black or trouble is Trouble.BLACK_HOLE:
            self._is_black = True
        elif trouble is Trouble.RESET and self._weather.draw.random() < CUT_SHARE:
            reset(self._writer)
        elif trouble is Trouble.SLICER or self._slices:
            self._slices += content
        else:
            self._write_in_order(content, LATENCY_S if trouble is Trouble.LATENCY else 0.0)

    def _write_in_order(self, content: bytes, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not delay_s and self._arrives_at <= now:
            self._writer.write(content)
            return
        self._arrives_at = max(now + delay_s, self._arrives_at + 1e-6)  # bytes must not overtake each other
        loop.call_at(self._arrives_at, self._write_late, content)

    def _write_late(self, content: bytes) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(content)

    async def drain(self) -> None:
        """Wait until the bytes that are not delayed have been passed on."""
        while self._slices and not self._writer.transport.is_closing():
            size = self._weather.draw.randint(1, 2 * SLICE_BYTES)
            self._write_in_order(bytes(self._slices[:size]), 0.0)
            del self._slices[:size]
            await asyncio.sleep(SLICE_PAUSE_S)
        await self._writer.drain()

    def abort(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """Close the connection with a reset."""
        reset(self._writer)
