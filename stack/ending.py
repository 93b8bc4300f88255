"""Stop servers gracefully; kill those that do not end within a time limit."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

from stack.process import Process, ProcessState
from stack.record import load_record
from stack.servers import SERVERS
from stack.site import Site

_FORCE_LIMIT_SECONDS = 10.0


def end_servers(site: Site, servers: Sequence[str], progress: Callable[[str], None]) -> None:
    """Stop the running servers of a stack; servers that depend on others are stopped first."""
    running = {name: process for name in servers if (process := _running(site, name)) is not None}
    dependants = [name for name in running if any(need in running for need in SERVERS[name].needs)]
    others = [name for name in running if name not in dependants]
    for group in (dependants, others):
        _end_together({name: running[name] for name in group}, progress)
    for name in servers:
        site.record(name).unlink(missing_ok=True)


def _end_together(processes: dict[str, Process], progress: Callable[[str], None]) -> None:
    began = time.monotonic()
    for name, process in processes.items():
        process.send(SERVERS[name].stop_signal)
        process.send(signal.SIGCONT)  # a paused process would handle the signal only after it resumes
    for name, process in processes.items():
        left = SERVERS[name].stop_limit_seconds - (time.monotonic() - began)
        manner = "ended"
        if not process.wait_ended(max(0.0, left)):
            process.send(signal.SIGKILL)
            process.wait_ended(_FORCE_LIMIT_SECONDS)
            manner = "killed because it did not stop by itself"
        progress(f"{name:<8} {manner} after {time.monotonic() - began:.1f} s")


def _running(site: Site, server: str) -> Process | None:
    record = load_record(site.record(server))
    if record is None or record.process.state() is ProcessState.ENDED:
        return None
    return record.process
