"""Create or update a connector, and wait until it and its task are running."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

from ops.connector.rest import ConnectClient
from stack.errors import StackError

_RUN_LIMIT_SECONDS = 90.0
_SNAPSHOT_LIMIT_SECONDS = 600.0
_SETTLED_SECONDS = 3.0
_POLL_SECONDS = 0.1
_CAUSE = "Caused by: "
_REJECTED = re.compile("(?i)password authentication failed|access denied for user")
_VARIABLE = re.compile(r"\$\{env:(\w+)\}")


class Outcome(Enum):
    """The action that `apply_connector` took."""

    CREATED = "created"
    UPDATED = "updated"
    RESTARTED = "restarted"
    UNCHANGED = "unchanged"


def apply_connector(connect: ConnectClient, name: str, settings: Mapping[str, str]) -> Outcome:
    """Create the connector or replace its settings, and wait until it and its task are running.

    Raises:
        StackError: a setting is invalid, or the connector or its task fails; the message gives the reason.
    """
    wanted = {**settings, "name": name}
    check_connector(connect, name, settings)
    outcome = _put(connect, name, wanted)
    if outcome is not Outcome.UNCHANGED:
        wait_running(connect, name)
    return outcome


def wait_running(connect: ConnectClient, name: str, *, limit_seconds: float = _RUN_LIMIT_SECONDS) -> None:
    """Wait until the connector and its task are running.

    Raises:
        StackError: the connector or its task failed (the message gives the cause), or they are not
                running within the limit.
    """
    deadline = time.monotonic() + limit_seconds
    while True:
        status = connect.status(name)
        if is_running(status):
            return
        failure = failure_of(status)
        if failure:
            raise StackError(f"{name} failed: {failure}")
        if time.monotonic() >= deadline:
            raise StackError(f"{name} is not running after {limit_seconds:g} s: {_states(status)}")
        time.sleep(_POLL_SECONDS)


def wait_settled(connect: ConnectClient, name: str) -> None:
    """Watch a running connector for a moment: what reads the log connects on its own, after what reads the tables.

    Raises:
        StackError: the connector or its task failed; the message gives the cause.
    """
    deadline = time.monotonic() + _SETTLED_SECONDS
    while time.monotonic() < deadline:
        failure = failure_of(connect.status(name))
        if failure:
            raise StackError(f"{name} failed after its start: {failure}")
        time.sleep(_POLL_SECONDS)


def wait_snapshot(
    connect: ConnectClient, name: str, *, prefix: str | None = None, limit_seconds: float = _SNAPSHOT_LIMIT_SECONDS
) -> None:
    """Wait until the connector's committed source position shows that the initial snapshot is complete.

    A snapshot without rows commits no position; it counts as complete once the first change has arrived.

    Args:
        prefix: the connector's name in the records, as Connect also keeps the positions of former epochs; None: any.

    Raises:
        StackError: the connector failed, or the time limit was exceeded.
    """
    deadline = time.monotonic() + limit_seconds
    while True:
        if has_snapshot_ended(connect, name, prefix):
            return
        failure = failure_of(connect.status(name))
        if failure:
            raise StackError(f"{name} failed during its snapshot: {failure}")
        if time.monotonic() >= deadline:
            raise StackError(f"{name}: the snapshot is not complete after {limit_seconds:g} s")
        time.sleep(_POLL_SECONDS)


def has_snapshot_ended(connect: ConnectClient, name: str, prefix: str | None) -> bool:
    """Whether the connector has committed a source position, and none of them belongs to a snapshot under way.

    Args:
        prefix: the connector's name in the records, as Connect also keeps the positions of former epochs; None: any.
    """
    found = connect.offsets(name)
    positions = [item["offset"] for item in found if prefix in (None, item["partition"].get("server"))]
    return bool(positions) and all(_is_snapshot_complete(position) for position in positions)


def is_running(status: Mapping[str, Any] | None) -> bool:
    """Whether the connector has at least one task, and it and all its tasks are running."""
    if status is None or not status["tasks"]:
        return False
    return all(item["state"] == "RUNNING" for item in (status["connector"], *status["tasks"]))


def failure_of(status: Mapping[str, Any] | None) -> str | None:
    """Return the cause in the trace of a failed connector or task; None if nothing failed.

    It is the last line that begins with "Caused by", as the first one often says only that something failed.
    """
    for item in (status["connector"], *status["tasks"]) if status else ():
        if item["state"] == "FAILED":
            lines = str(item.get("trace", "")).strip().splitlines()
            causes = [line.removeprefix(_CAUSE) for line in lines if line.startswith(_CAUSE)]
            return (causes or lines[:1] or ["no reason given"])[-1]
    return None


def check_connector(connect: ConnectClient, name: str, settings: Mapping[str, str]) -> None:
    """Let Connect check a connector's settings, among them the address and login of the database.

    Raises:
        StackError: a setting is invalid; the message has one line per fault.
    """
    faults = connect.validate({**settings, "name": name})
    lines = [f"{setting}: {error}{_login(error, settings)}" for setting, errors in faults.items() for error in errors]
    if lines:
        raise StackError("\n".join(lines))


def _login(error: str, settings: Mapping[str, str]) -> str:
    """Name the variables of the Connect process that have the login, if the database has rejected it."""
    variables = _VARIABLE.findall(f"{settings.get('database.user')} {settings.get('database.password')}")
    is_rejected = bool(variables) and _REJECTED.search(error)
    return f"; the Connect process has the login in {' and '.join(variables)}" if is_rejected else ""


def _put(connect: ConnectClient, name: str, wanted: Mapping[str, str]) -> Outcome:
    existing = connect.config(name)
    if existing is None:
        connect.put_config(name, wanted)
        return Outcome.CREATED
    if existing == wanted and is_running(connect.status(name)):
        return Outcome.UNCHANGED
    # Stop the connector first, so that a task seen running afterwards has the new settings.
    stop_connector(connect, name)
    connect.put_config(name, wanted)
    connect.resume(name)
    return Outcome.RESTARTED if existing == wanted else Outcome.UPDATED


def stop_connector(connect: ConnectClient, name: str) -> None:
    """Stop the connector, and wait until it has no task."""
    connect.stop(name)
    deadline = time.monotonic() + _RUN_LIMIT_SECONDS
    while True:
        status = connect.status(name)
        if status is None or (status["connector"]["state"] == "STOPPED" and not status["tasks"]):
            return
        if time.monotonic() >= deadline:
            raise StackError(f"{name} did not stop within {_RUN_LIMIT_SECONDS:g} s: {_states(status)}")
        time.sleep(_POLL_SECONDS)


def _is_snapshot_complete(position: Mapping[str, Any]) -> bool:
    """Whether a position is one in the log, or that of the last row of a snapshot; one without a place is neither.

    An incremental read is no snapshot in this sense, because the connector goes on following the log meanwhile.
    """
    has_place = bool(position.get("file")) or position.get("lsn") is not None  # MySQL's, PostgreSQL's
    is_following = not position.get("snapshot") or str(position["snapshot"]).lower() == "incremental"
    return has_place and (is_following or bool(position.get("snapshot_completed")))


def _states(status: Mapping[str, Any] | None) -> str:
    if status is None:
        return "Connect does not list the connector yet"
    tasks = ", ".join(f"task {task['id']} {task['state']}" for task in status["tasks"]) or "no task"
    return f"connector {status['connector']['state']}, {tasks}"
