"""A failed build of the lake's programs is reported with what to do, and only when the lake is needed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from demo import servers as demo_servers
from demo.interruption import Interruption
from demo.progress import CHANGES_MEASURED_S, MEASURED_S, MINIO_BUILD_S, Progress
from demo.servers import FETCH_AGAIN, Servers, estimates
from stack.background import Background, Task
from stack.errors import CancelledWorkError, StackError
from stack.job import Job
from stack.local import Stack
from stack.site import Site, load_or_create_site


class FakeStack:
    """A stack that writes down which servers are started; a signal arrives while it starts those in `interrupted`."""

    def __init__(self, site: Site, interrupted: str = "") -> None:
        self.site = site
        self.started: list[str] = []
        self.killed: list[str] = []
        self._interrupted = interrupted

    def up(self, progress: Callable[[str], None], *, only: Sequence[str], cancelled: threading.Event) -> None:
        progress("ready")
        self.started += only
        if self._interrupted in only:
            signal.raise_signal(signal.SIGTERM)
        if cancelled.is_set():
            raise CancelledWorkError

    def kill(self, server: str) -> None:
        self.killed.append(server)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / "cache"))
    return load_or_create_site(tmp_path / "stack", {})


def servers_of(
    stack: FakeStack, interruption: Interruption, screen: list[str], build: Task, engine: str = "mysql"
) -> Servers:
    progress, background = Progress(screen.append, {"servers": 1, "storage": 1}), Background({"building MinIO": build})
    return Servers(cast("Stack", stack), progress, interruption, background=background, engine=engine)


def test_the_stream_starts_while_minio_is_being_built(site: Site) -> None:
    stack, go, screen = FakeStack(site), threading.Event(), list[str]()
    with Interruption() as interruption, servers_of(stack, interruption, screen, lambda _: go.wait()) as servers:
        servers.start_stream()
        assert sorted(stack.started) == ["connect", "kafka", "mariadb", "redis"]
        servers.check_lake()
        threading.Timer(0.1, go.set).start()
        servers.start_lake()
    assert stack.started[-1] == "minio"
    assert "building MinIO" in "".join(screen)


def test_the_database_is_that_of_the_engine_and_a_killed_server_is_started_again(site: Site) -> None:
    stack, screen = FakeStack(site), list[str]()
    with (
        Interruption() as interruption,
        servers_of(stack, interruption, screen, lambda _: None, engine="postgres") as servers,
    ):
        servers.start_stream()
        assert sorted(stack.started) == ["connect", "kafka", "postgres", "redis"]
        servers.kill("connect")
    assert (stack.killed, stack.started[-1]) == (["connect"], "connect")
    assert "PostgreSQL" in "".join(screen)
    assert "MariaDB" not in "".join(screen)


def test_a_failed_build_does_not_touch_the_stream_and_says_what_to_do(site: Site) -> None:
    def fail(_: Job) -> None:
        raise StackError("building MinIO failed: go exited with code 1")

    stack = FakeStack(site)
    with Interruption() as interruption, servers_of(stack, interruption, [], fail) as servers:
        servers.start_stream()
        with pytest.raises(StackError, match="exited with code 1") as caught:
            servers.start_lake()
    assert FETCH_AGAIN in str(caught.value)
    assert "minio" not in stack.started


def test_a_signal_while_servers_start_is_heeded_when_that_has_been_undone(site: Site) -> None:
    stack = FakeStack(site, interrupted="kafka")
    with Interruption() as interruption, servers_of(stack, interruption, [], lambda _: None) as servers:
        with pytest.raises(CancelledWorkError):
            servers.start_stream()
        assert interruption.received is signal.SIGTERM


def test_the_lake_is_expected_to_wait_for_the_rest_of_a_build(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = estimates(site.cache)
    assert first | {"storage": MEASURED_S["storage"]} == MEASURED_S
    assert MEASURED_S["storage"] < first["storage"] < MINIO_BUILD_S
    monkeypatch.setattr(demo_servers, "is_whole", lambda _: True)
    assert estimates(site.cache) == MEASURED_S
    assert estimates(site.cache, CHANGES_MEASURED_S) == CHANGES_MEASURED_S
