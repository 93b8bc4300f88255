"""The measured stream systems, and how to start each of them on the same servers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bench.java_peers import JAVA_PEERS
from config.settings import KafkaSettings, environment_with
from demo.workers import Worker
from stack.errors import StackError
from stack.ports import free_ports
from stack.process import Process, ProcessState, start
from stack.site import REPOSITORY
from streams.topics import ORDER_FINAL

EXACTLY_ONCE: Final = "exactly_once"
AT_LEAST_ONCE: Final = "at_least_once"
MILLRACE_SHARED: Final = "millrace-shared"
"""Millrace with transactions that partitions share."""

PEER_PYTHON: Final = REPOSITORY / ".venv-bench" / "bin" / "python"
_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR", "USER")
_STOP_LIMIT_S: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class System:
    """A measured stream system in one mode.

    Attributes:
        threads: number of threads in a peer's process; for Millrace, number of workers.
        in_part: whether the system gets only a part of a large input.
        commit_ms: interval in ms of Kafka Streams' commits, where 0 is that of the throughput benchmark, and of Flink's
            checkpoints, at which it commits.
    """

    name: str
    mode: str
    threads: int = 1
    in_part: bool = False
    commit_ms: int = 0

    @property
    def is_millrace(self) -> bool:
        """Whether it is Millrace, with whatever settings."""
        return self.name in {"millrace", MILLRACE_SHARED}

    @property
    def label(self) -> str:
        """The label used in names of topics, consumer groups and folders."""
        interval = f"_{self.commit_ms}ms" if self.commit_ms else ""
        return f"{self.name}_{self.mode}_{self.threads}{interval}".replace("-", "_")


FLINK: Final = tuple(System(name="flink", mode=EXACTLY_ONCE, commit_ms=interval) for interval in (100, 1000))

SYSTEMS: Final = (
    System(name="millrace", mode=EXACTLY_ONCE),
    System(name="millrace", mode=EXACTLY_ONCE, threads=2),
    System(name="kafka-streams", mode=EXACTLY_ONCE, threads=1),
    System(name="kafka-streams", mode=EXACTLY_ONCE, threads=2),
    System(name="kafka-streams", mode=AT_LEAST_ONCE, threads=2),
    *FLINK,
    System(name="quix-streams", mode=EXACTLY_ONCE),
    System(name="quix-streams", mode=AT_LEAST_ONCE),
    System(name="faust-stock", mode=EXACTLY_ONCE, in_part=True),
    System(name="faust-stock", mode=AT_LEAST_ONCE, in_part=True),
)

LATENCY_SYSTEMS: Final = (
    System(name="millrace", mode=EXACTLY_ONCE),
    System(name=MILLRACE_SHARED, mode=EXACTLY_ONCE),
    *[System(name="kafka-streams", mode=EXACTLY_ONCE, commit_ms=interval) for interval in (10, 30, 100)],
    *FLINK,
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one benchmark run works on: its topics, its consumer group and its folder."""

    group: str
    orders: str
    details: str
    output: str
    folder: Path

    @property
    def mark(self) -> Path:
        """Path of the file to which a peer writes the time of its first processed event."""
        return self.folder / "first"


class Running(Protocol):
    """A measured system that can be started and stopped."""

    log: Path

    @property
    def pids(self) -> Sequence[int]: ...
    def start(self) -> None: ...
    def is_running(self) -> bool: ...
    def stop(self) -> bool: ...


class Peer:
    """A peer (a system compared with Millrace) that runs as a single process.

    Attributes:
        command: the peer's program and its arguments.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.log = folder / "peer.log"
        self.command = command
        self._process: Process | None = None

    @property
    def pids(self) -> Sequence[int]:
        """Pid of the peer's process, in a list."""
        return [self._started.pid]

    @property
    def _started(self) -> Process:
        assert self._process is not None, "the peer was not started"
        return self._process

    def start(self) -> None:
        """Start the peer's process; the kernel kills it when the calling thread ends."""
        environment = environment_with({"PYTHONPATH": str(REPOSITORY)}, only=_INHERITED)
        self._process = start(self.command, environment=environment, log=self.log, die_with_parent=True)

    def is_running(self) -> bool:
        """Whether the peer's process is running."""
        return self._process is not None and self._process.state() is not ProcessState.ENDED

    def stop(self) -> bool:
        """Send SIGTERM to the process, and kill it after a time limit; return whether it stopped without the kill."""
        self._started.send(signal.SIGTERM)
        graceful = self._started.wait_ended(_STOP_LIMIT_S)
        if not graceful:
            self._started.send(signal.SIGKILL)
            self._started.wait_ended(_STOP_LIMIT_S)
        return graceful


class Workers:
    """The Millrace workers of a run, which share the partitions."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.log = workers[0].log
        self._workers = workers

    @property
    def pids(self) -> Sequence[int]:
        """Pids of the workers' processes."""
        return [worker.process.pid for worker in self._workers]

    def start(self) -> None:
        """Start all workers."""
        for worker in self._workers:
            worker.start()

    def is_running(self) -> bool:
        """Whether all workers are running."""
        return all(worker.is_running() for worker in self._workers)

    def stop(self) -> bool:
        """Stop the workers, and kill them after a time limit; return whether all of them stopped without a kill."""
        graceful = [worker.stop() for worker in self._workers]
        return all(graceful)


def output_topic(system: System, run: str) -> str:
    """Return the output topic of a system's run, which for Millrace is always `order_final`."""
    return ORDER_FINAL if system.is_millrace else f"bench_{system.label}_{run}"


def prepared(system: System, task: Task, environment: Mapping[str, str]) -> Running:
    """Return an object that runs a system with the topics and the folder of a task; the system is not started yet."""
    kafka = KafkaSettings.read(environment)
    if system.is_millrace:
        shared = "on" if system.name == MILLRACE_SHARED else "off"
        settings = {**environment, "ORDERS_APP_ID": task.group, "SHARED_TRANSACTIONS": shared}
        ports = free_ports([f"worker {number}" for number in range(system.threads)]).values()
        return Workers([Worker(web_port=port, environment=settings, folder=task.folder / str(port)) for port in ports])
    given = {
        "bootstrap": kafka.bootstrap,
        "group": task.group,
        "orders": task.orders,
        "details": task.details,
        "output": task.output,
        "state": str(task.folder / "state"),
        "mode": system.mode,
        "mark": str(task.mark),
        "partitions": str(kafka.order_partitions),
        "threads": str(system.threads),
        "commit-ms": str(system.commit_ms),
    }
    arguments = [word for name, value in given.items() for word in (f"--{name}", value)]
    return Peer([*_program(system, task), *arguments], task.folder)


def _program(system: System, task: Task) -> list[str]:
    if system.name == "faust-stock":
        return [sys.executable, "-m", "bench.peers.faust_stock"]
    if system.name == "quix-streams":
        return [str(PEER_PYTHON), "-m", "bench.peers.quix"]
    return JAVA_PEERS[system.name].command(task.folder)


def fetch(systems: Sequence[System], say: Callable[[str], None]) -> None:
    """Check that the systems' programs are installed, and build the peers in Java if needed.

    Raises:
        StackError: a program is missing and cannot be built.
    """
    names = {system.name for system in systems}
    if "quix-streams" in names and not PEER_PYTHON.exists():
        raise StackError(f"{PEER_PYTHON} is missing: create it by running `make bench`")
    for peer in (peer for name, peer in JAVA_PEERS.items() if name in names):
        peer.build(say)
