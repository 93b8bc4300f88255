"""Report the status of servers: process state from the kernel, health from the servers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stack.process import ProcessState
from stack.record import load_record
from stack.servers import SERVERS, UnhealthyError
from stack.site import Site


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """The status of a server; `state` is running, paused, stopped, or died (ended without being stopped)."""

    server: str
    state: str
    pid: int | None
    port: int
    uptime_seconds: float | None
    health: str

    @property
    def is_healthy(self) -> bool:
        """Whether the server is running and passes its health check."""
        return self.health == "healthy"


def status_of(site: Site, servers: Sequence[str]) -> list[ServerStatus]:
    """Return the status of the given servers, which are checked in parallel."""
    with ThreadPoolExecutor(max(1, len(servers))) as pool:
        return list(pool.map(lambda name: _status(site, name), servers))


def _status(site: Site, name: str) -> ServerStatus:
    port = site.ports[SERVERS[name].port_names[0]]
    record = load_record(site.record(name))
    if record is None:
        return ServerStatus(server=name, state="stopped", pid=None, port=port, uptime_seconds=None, health="-")
    state = record.process.state()
    if state is ProcessState.ENDED:
        return ServerStatus(
            server=name, state="died", pid=None, port=port, uptime_seconds=None, health=f"see {site.log(name)}"
        )
    return ServerStatus(
        server=name,
        state=state.value,
        pid=record.process.pid,
        port=port,
        uptime_seconds=record.process.uptime_seconds(),
        health=_health(site, name),
    )


def _health(site: Site, name: str) -> str:
    try:
        SERVERS[name].check(site)
    except UnhealthyError as reason:
        return str(reason)
    return "healthy"
