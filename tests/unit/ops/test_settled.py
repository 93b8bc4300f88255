"""A connector that fails a moment after its start: its cause is an error of the command that started it."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from ops.connector.apply import wait_settled
from ops.connector.rest import ConnectClient
from stack.errors import StackError

CAUSE = 'IdentityVerificationException: "localhost" identity was not confirmed'


class Connect:
    """A connector that runs for some looks, and then fails."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def status(self, name: str) -> dict[str, Any]:
        self.looks -= 1
        task = {"id": 0, "state": "RUNNING"} if self.looks >= 0 else {"id": 0, "state": "FAILED", "trace": CAUSE}
        return {"connector": {"state": "RUNNING"}, "tasks": [task]}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


def test_a_connector_that_dies_when_it_begins_to_read_the_log_is_an_error() -> None:
    with pytest.raises(StackError, match="identity was not confirmed"):
        wait_settled(cast(ConnectClient, Connect(looks=5)), "shop-connector")


def test_a_connector_that_goes_on_is_watched_for_a_moment_only() -> None:
    connect = Connect(looks=1_000)
    wait_settled(cast(ConnectClient, connect), "shop-connector")
    assert 10 < 1_000 - connect.looks < 100
