"""A client for the parts of Kafka Connect's REST API that the operator's commands need."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import msgspec
import requests
from msgspec import Struct

from config.address import without_login
from stack.errors import StackError

_BACKOFF_SECONDS = 0.5
_REBALANCE_POLL_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a client waits: for each answer, for how many tries, and for the end of a rebalance."""

    answer_s: float = 90.0  # the time limit that Connect sets for its own database and group checks
    tries: int = 3
    rebalance_s: float = 30.0


USUAL: Final = Patience()
"""For a command that is to succeed or fail for good."""

LITTLE: Final = Patience(answer_s=10.0, tries=1, rebalance_s=0.0)
"""For a process that asks again anyway, and that must end soon after SIGTERM."""


class _State(Struct):
    state: str


class _Task(_State):
    id: int


class _Status(Struct):
    connector: _State
    tasks: list[_Task]


class _Offset(Struct):
    partition: dict[str, Any]
    offset: dict[str, Any]


class _Offsets(Struct):
    offsets: list[_Offset]


class ConnectClient:
    """A client of a Connect worker that tries each request several times and waits for rebalances (409).

    Each method raises a `StackError` if Connect does not answer, rejects the request, or gives an unusable answer.
    """

    def __init__(self, url: str, patience: Patience = USUAL) -> None:
        self._url = url
        self._patience = patience
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
        path = f"/connectors/{quote(name)}/config"
        answer: dict[str, str] | None = self._usable(self._ask("GET", path, absent_ok=True), dict | None, path)
        return answer

    def put_config(self, name: str, settings: Mapping[str, str]) -> None:
        """Create the connector, or replace its settings."""
        self._ask("PUT", f"/connectors/{quote(name)}/config", settings)

    def status(self, name: str) -> dict[str, Any] | None:
        """Return the state of the connector and its tasks; None if the connector does not exist."""
        path = f"/connectors/{quote(name)}/status"
        answer: dict[str, Any] | None = self._usable(self._ask("GET", path, absent_ok=True), _Status | None, path)
        return answer

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """Return the committed source positions of a connector."""
        path = f"/connectors/{quote(name)}/offsets"
        found: list[dict[str, Any]] = self._usable(self._ask("GET", path), _Offsets, path)["offsets"]
        return found

    def forget_offsets(self, name: str) -> None:
        """Delete the committed source positions of a stopped connector."""
        self._ask("DELETE", f"/connectors/{quote(name)}/offsets")

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
        deadline = time.monotonic() + self._patience.rebalance_s
        while True:
            answer = self._send(method, path, body)
            if answer.status_code != requests.codes.conflict or time.monotonic() >= deadline:
                break
            time.sleep(_REBALANCE_POLL_SECONDS)
        if answer.status_code == requests.codes.not_found and absent_ok:
            return None
        if not answer.ok:
            raise StackError(f"Connect rejected {method} {path} with status {answer.status_code}: {_message(answer)}")
        try:
            return answer.json() if answer.content else {}
        except ValueError:
            raise self._unusable(path, "it is not JSON") from None

    def _send(self, method: str, path: str, body: Mapping[str, str] | None) -> requests.Response:
        tries = self._patience.tries
        for attempt in range(1, tries + 1):
            try:
                return self._session.request(method, self._url + path, json=body, timeout=self._patience.answer_s)
            except requests.RequestException as error:  # also an answer that breaks off
                if attempt == tries:
                    reason = "no answer" if isinstance(error, requests.Timeout) else "no connection"
                    place = without_login(self._url)
                    asked = "1 try" if tries == 1 else f"{tries} tries"
                    raise StackError(f"Connect at {place}: {reason} in {asked}; is it running and reachable?") from None
                time.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("unreachable: the last try returns or raises")

    def _usable(self, answer: Any, kind: Any, path: str) -> Any:
        """Return the answer if it has the members that a caller reads."""
        try:
            msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise self._unusable(path, str(error)) from None
        return answer

    def _unusable(self, path: str, reason: str) -> StackError:
        place = without_login(self._url)
        return StackError(f"the answer of {place} to {path} is none of Kafka Connect: {reason}; check CONNECT_URL")


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:200] or "no reason given"
