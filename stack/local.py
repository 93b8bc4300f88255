"""A stack: a set of servers on this machine that are started and stopped together.

    with Stack.at(folder, ports=free_ports(), servers=["kafka", "redis"], die_with_parent=True) as stack:
        settings = KafkaSettings.read(stack.environment())

The server commands of `python -m stack` are a thin layer on top of the class `Stack`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from stack.ending import end_servers
from stack.errors import CancelledWorkError, StackError
from stack.health import ServerStatus, status_of
from stack.launch import Launch
from stack.ports import DEFAULT_PORTS, assert_distinct, is_free
from stack.process import Process, ProcessState
from stack.record import load_record, process_state
from stack.servers import SERVERS, servers_for
from stack.site import REPOSITORY, Site, load_or_create_site, write_private

_LOCK_LIMIT_SECONDS = 300.0
_LOCK_POLL_SECONDS = 0.2
_KILL_LIMIT_SECONDS = 30.0
_KILL_POLL_SECONDS = 0.05
_PAUSE_LIMIT_SECONDS = 10.0

Progress = Callable[[str], None]


def _say_nothing(line: str) -> None:
    """Ignore a progress report."""


def stack_folder(name: str) -> Path:
    """Return the folder of the stack `name`."""
    return REPOSITORY / ".stack" / name


class Stack:
    """A set of servers on this machine that share a folder and credentials."""

    def __init__(self, site: Site, servers: Sequence[str], *, die_with_parent: bool) -> None:
        self.site = site
        self.servers = tuple(servers)
        self._die_with_parent = die_with_parent

    @classmethod
    def at(
        cls,
        folder: Path,
        *,
        ports: Mapping[str, int] | None = None,
        servers: Sequence[str] | None = None,
        die_with_parent: bool = False,
    ) -> Self:
        """Open the stack in `folder`, or create it there.

        Args:
            folder: folder of the stack.
            ports: ports by name, which replace those that the stack has.
            servers: servers to add to the stack; a new stack has those of the default dataset by default.
            die_with_parent: whether servers are killed when the thread that starts them ends.
        """
        known = _load(folder)
        chosen = _with_needs([*known.get("servers", []), *(servers or [])]) or servers_for("mysql")
        all_ports = {**DEFAULT_PORTS, **known.get("ports", {}), **(ports or {})}
        assert_distinct(all_ports)
        site = load_or_create_site(folder.resolve(), all_ports)
        return cls(site, chosen, die_with_parent=die_with_parent)

    @classmethod
    def existing(cls, folder: Path) -> Self | None:
        """Open the stack in `folder`; None if it does not exist."""
        return cls.at(folder) if _load(folder) else None

    def up(
        self,
        progress: Progress = _say_nothing,
        *,
        only: Sequence[str] | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        """Start the servers that are not running, and wait until all are healthy.

        Raises:
            StackError: a server could not be started; the message names each server that failed.
            CancelledWorkError: `cancelled` was set before all servers were healthy.

        Before an error is raised, the servers that this call started are stopped.
        """
        servers = [name for name in SERVERS if name in (self.servers if only is None else _with_needs(only))]
        cancelled = cancelled or threading.Event()
        with self._alone(cancelled):
            self._refuse_moved_ports()
            self._save()
            launch = Launch(self.site, servers, progress, cancelled=cancelled, die_with_parent=self._die_with_parent)
            launch.run()

    def start(self, server: str, progress: Progress = _say_nothing) -> None:
        """Start one server and the servers it depends on, and wait until they are healthy."""
        self.up(progress, only=[server])

    def down(self, progress: Progress = _say_nothing, *, only: Sequence[str] | None = None) -> None:
        """Stop the servers gracefully, kill those that exceed their time limit, and return when all have ended."""
        with self._alone():
            end_servers(self.site, [name for name in SERVERS if only is None or name in only], progress)

    def reset(self, progress: Progress = _say_nothing) -> None:
        """Stop the servers and delete the stack with all its data."""
        with self._alone():
            end_servers(self.site, list(SERVERS), progress)
            sockets = self.site.socket_folder()
            if not sockets.is_relative_to(self.site.folder):
                shutil.rmtree(sockets, ignore_errors=True)
            for server in SERVERS.values():
                server.forget(self.site)
            shutil.rmtree(self.site.folder)

    def kill(self, server: str) -> None:
        """Simulate a crash: kill a server (SIGKILL), and return when it has ended and its ports are free."""
        process = self._process(server)
        process.send(signal.SIGKILL)
        deadline = time.monotonic() + _KILL_LIMIT_SECONDS
        ports = [self.site.ports[name] for name in SERVERS[server].port_names]
        # The server's threads and child processes may keep its sockets open a moment longer.
        while not (process.wait_ended(_KILL_POLL_SECONDS) and all(is_free(port) for port in ports)):
            if time.monotonic() > deadline:
                raise StackError(f"{server} (process {process.pid}) has not ended after SIGKILL")
            time.sleep(_KILL_POLL_SECONDS)

    def pause(self, server: str) -> None:
        """Freeze a server (SIGSTOP) until `resume` is called; return once all of it stands still.

        Raises:
            StackError: the server was not started, has ended, or still runs after `_PAUSE_LIMIT_SECONDS`.
        """
        process = self._process(server)
        process.send(signal.SIGSTOP)
        if not process.wait_for(ProcessState.PAUSED, _PAUSE_LIMIT_SECONDS):
            raise StackError(f"{server} (pid {process.pid}) still runs {_PAUSE_LIMIT_SECONDS:.0f} s after SIGSTOP")

    def resume(self, server: str) -> None:
        """Resume a frozen server (SIGCONT)."""
        self._process(server).send(signal.SIGCONT)

    def status(self) -> list[ServerStatus]:
        """Return the state and health of each server of the stack."""
        return status_of(self.site, self.servers)

    def environment(self) -> dict[str, str]:
        """Return the settings with which programs reach this stack, under the names that `config.settings` reads."""
        environment: dict[str, str] = {}
        for server in self.servers:
            environment |= SERVERS[server].environment(self.site)
        return environment

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def _process(self, server: str) -> Process:
        record = load_record(self.site.record(server))
        if record is None:
            raise StackError(f"{server} was not started: run `millrace up`")
        return record.process

    def _refuse_moved_ports(self) -> None:
        known = _load(self.site.folder).get("ports", self.site.ports)
        for name, server in SERVERS.items():
            moved = [port for port in server.port_names if known.get(port) != self.site.ports[port]]
            if moved and process_state(self.site.record(name)) is not ProcessState.ENDED:
                raise StackError(
                    f"{name} runs on port {known.get(moved[0])}, not {self.site.ports[moved[0]]}: "
                    "stop it first with `millrace down`"
                )

    def _save(self) -> None:
        content = {"ports": dict(self.site.ports), "servers": list(self.servers)}
        write_private(self.site.folder / "stack.json", json.dumps(content, indent=2))

    @contextlib.contextmanager
    def _alone(self, cancelled: threading.Event | None = None) -> Iterator[None]:
        """Hold the stack's lock, so that only one command at a time changes the stack."""
        folder = self.site.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + _LOCK_LIMIT_SECONDS
        with (folder / "lock").open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise StackError(
                            f"another command has locked {folder} for {_LOCK_LIMIT_SECONDS:g} s: wait for it or end it"
                        ) from None
                    if cancelled is not None and cancelled.is_set():
                        raise CancelledWorkError from None
                    time.sleep(_LOCK_POLL_SECONDS)
            yield


def _load(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "stack.json").read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StackError(f"{folder / 'stack.json'} cannot be read: {error.strerror}") from None
    except ValueError:
        content = None
    if not _is_record(content):
        raise StackError(f"{folder / 'stack.json'} is damaged: delete it and run `millrace up`")
    return dict(content)


def _is_record(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    ports, servers = content.get("ports", {}), content.get("servers", [])
    return (
        isinstance(ports, dict)
        and all(isinstance(port, int) for port in ports.values())
        and isinstance(servers, list)
        and all(isinstance(server, str) for server in servers)
    )


def _with_needs(servers: Sequence[str]) -> list[str]:
    """List the given servers and the servers they depend on, in the order of `SERVERS`."""
    for name in servers:
        if name not in SERVERS:
            raise StackError(f"unknown server {name!r}: choose from {', '.join(SERVERS)}")
    wanted = {need for name in servers for need in (name, *SERVERS[name].needs)}
    return [name for name in SERVERS if name in wanted]
