"""The client through which a worker asks Kafka Connect how a connector is, without ever waiting long for it."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec

ANSWER_S: Final = 1.0
"""Time for which Connect may answer both questions; a page for people shows what is known then."""

LARGEST_ANSWER_BYTES: Final = 2**20


class ConnectAwayError(Exception):
    """Error raised when Connect does not answer in time, or answers something else."""


class ConnectClient:
    """A client of one connector's status and source position.

    Args:
        url: URL of a Connect worker.
        name: name of the connector.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = f"{url.rstrip('/')}/connectors/{quote(name, safe='')}"

    async def read(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """Return the connector's status, None if it does not exist, and the source positions of its present epoch.

        Raises:
            ConnectAwayError: Connect does not answer within `ANSWER_S` seconds, or not as Connect does.
        """
        try:
            async with asyncio.timeout(ANSWER_S), aiohttp.ClientSession() as session:
                status = await _json(session, f"{self._url}/status")
                return status, [] if status is None else await self._positions(session)
        except aiohttp.ClientConnectorError as error:
            why = os.strerror(error.errno) if error.errno else type(error.os_error).__name__
            raise ConnectAwayError(f"no connection ({why.lower()})") from None
        except TimeoutError:
            raise ConnectAwayError(f"no answer within {ANSWER_S:g} s") from None
        except (aiohttp.ClientError, OSError, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise ConnectAwayError(type(error).__name__) from None  # its text may contain the URL's login

    async def _positions(self, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
        config = await _json(session, f"{self._url}/config") or {}
        found = await _json(session, f"{self._url}/offsets") or {"offsets": ()}
        prefix = config.get("topic.prefix")  # Connect keeps the positions of former epochs too
        return [each["offset"] for each in found["offsets"] if each["partition"].get("server") == prefix]


async def _json(session: aiohttp.ClientSession, url: str) -> dict[str, Any] | None:
    """Return an answer; None if there is no such thing."""
    async with session.get(url) as response:
        if response.status == 404:
            return None
        content = await response.content.read(LARGEST_ANSWER_BYTES)
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        found: dict[str, Any] = msgspec.json.decode(content, type=dict)
        return found
