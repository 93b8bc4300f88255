"""A client for the parts of Kafka Connect's REST API that the operator's commands need."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import requests

from config.address import without_login
from stack.errors import StackError

_ANSWER_SECONDS = 90.0  # the time limit that Connect sets for its own database and group checks
_TRIES = 3
_BACKOFF_SECONDS = 0.5
_REBALANCE_LIMIT_SECONDS = 30.0
_REBALANCE_POLL_SECONDS = 0.25


class ConnectClient:
    """A client of a Connect worker that tries each request up to three times and waits for rebalances (409)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def validate(self, settings: Mapping[str, str]) -> dict[str, list[str]]:
        """Validate settings; return the errors of each invalid setting, keyed by setting name."""
        kind = settings["connector.class"]
        answer = self._ask("PUT", f"/connector-plugins/{quote(kind)}/config/validate", settings)
        found = [item["value"] for item in answer["configs"] if item["value"] is not None]
        return {value["name"]: value["errors"] for value in found if value["errors"]}

    def config(self, name: str) -> dict[str, str] | None:
        """Return the settings of a connector; None if it does not exist."""
        answer: dict[str, str] | None = self._ask("GET", f"/connectors/{quote(name)}/config", absent_ok=True)
        return answer

    def put_config(self, name: str, settings: Mapping[str, str]) -> None:
        """Create the connector, or replace its settings."""
        self._ask("PUT", f"/connectors/{quote(name)}/config", settings)

    def status(self, name: str) -> dict[str, Any] | None:
        """Return the state of the connector and its tasks; None if the connector does not exist."""
        answer: dict[str, Any] | None = self._ask("GET", f"/connectors/{quote(name)}/status", absent_ok=True)
        return answer

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """Return the committed source positions of a connector."""
        answer: list[dict[str, Any]] = self._ask("GET", f"/connectors/{quote(name)}/offsets")["offsets"]
        return answer

    def stop(self, name: str) -> None:
        """Stop the connector's tasks; Connect keeps its source position."""
        self._ask("PUT", f"/connectors/{quote(name)}/stop")

    def resume(self, name: str) -> None:
        """Resume a stopped connector."""
        self._ask("PUT", f"/connectors/{quote(name)}/resume")

    def restart(self, name: str) -> None:
        """Start the connector again if it has failed, and those of its tasks that have failed."""
        self._ask("POST", f"/connectors/{quote(name)}/restart?includeTasks=true&onlyFailed=true")

    def delete(self, name: str) -> bool:
        """Delete the connector; return False if it does not exist."""
        return self._ask("DELETE", f"/connectors/{quote(name)}", absent_ok=True) is not None

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None, *, absent_ok: bool = False) -> Any:
        deadline = time.monotonic() + _REBALANCE_LIMIT_SECONDS
        while True:
            answer = self._send(method, path, body)
            if answer.status_code != requests.codes.conflict or time.monotonic() >= deadline:
                break
            time.sleep(_REBALANCE_POLL_SECONDS)
        if answer.status_code == requests.codes.not_found and absent_ok:
            return None
        if not answer.ok:
            raise StackError(f"Connect rejected {method} {path} with status {answer.status_code}: {_message(answer)}")
        return answer.json() if answer.content else {}

    def _send(self, method: str, path: str, body: Mapping[str, str] | None) -> requests.Response:
        for attempt in range(1, _TRIES + 1):
            try:
                return self._session.request(method, self._url + path, json=body, timeout=_ANSWER_SECONDS)
            except (requests.ConnectionError, requests.Timeout) as error:
                if attempt == _TRIES:
                    reason = "no answer" if isinstance(error, requests.Timeout) else "no connection"
                    place = without_login(self._url)
                    raise StackError(
                        f"Connect at {place}: {reason} in {_TRIES} tries; is it running and reachable?"
                    ) from None
                time.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("unreachable: the last try returns or raises")


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:200] or "no reason given"
