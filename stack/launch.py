"""Start several servers in parallel.

Downloads, preparation and health checks run in separate threads. Only the calling thread starts processes, because with
`die_with_parent` the kernel kills a process when the thread that started it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from config.settings import environment_with
from stack.ending import end_servers
from stack.errors import CancelledWorkError, StackError
from stack.job import Job
from stack.owners import describe_owner
from stack.ports import is_free
from stack.prerequisites import check_prerequisites
from stack.process import ProcessState, start
from stack.record import Record, last_lines, load_record, new_record, process_state
from stack.servers import SERVERS, UnhealthyError
from stack.site import Site

_HEALTH_LIMIT_SECONDS = 120.0
_HEALTH_POLL_SECONDS = 0.05
_LOG_LINES = 15
# Variables that servers inherit from this process; all other settings come from files and from the start command.
_INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "USER")


class Launch:
    """A parallel start of several servers of one stack."""

    def __init__(
        self,
        site: Site,
        servers: Sequence[str],
        progress: Callable[[str], None],
        *,
        cancelled: threading.Event,
        die_with_parent: bool,
    ) -> None:
        self._site = site
        self._running = [name for name in servers if process_state(site.record(name)) is not ProcessState.ENDED]
        self._missing = [name for name in servers if name not in self._running]
        self._progress = progress
        self._die_with_parent = die_with_parent
        self._cancelled = cancelled
        self._started: list[str] = []
        self._began = time.monotonic()

    def run(self) -> None:
        """Start the servers that are not running, and wait until all are healthy.

        Raises:
            StackError: the message names every server that failed.
            CancelledWorkError: `cancelled` was set.

        Before an error is raised, the servers that this call started are stopped.
        """
        self._site.make_folders()
        self._check_ports()
        check_prerequisites(item for name in self._missing for item in SERVERS[name].prerequisites(self._site))
        try:
            with ThreadPoolExecutor(len(self._running) + len(self._missing) or 1) as pool:
                try:
                    self._run_in(pool)
                except BaseException:
                    self._cancelled.set()
                    raise
        except BaseException:
            end_servers(self._site, self._started, self._progress)
            raise

    def _run_in(self, pool: ThreadPoolExecutor) -> None:
        preparing = {pool.submit(self._prepare, name): name for name in self._missing}
        checking = {pool.submit(self._become_healthy, name): name for name in self._running}
        faults: list[str] = []
        while preparing or checking:
            done, _ = wait([*preparing, *checking], return_when=FIRST_COMPLETED)
            for future in done:
                name = preparing.get(future) or checking[future]
                fault = self._fault_of(future)
                if fault is not None:
                    faults.append(f"{name}: {fault}")
                    self._cancelled.set()
                elif future in preparing and not self._cancelled.is_set():
                    self._spawn(name)
                    checking[pool.submit(self._become_healthy, name)] = name
                preparing.pop(future, None)
                checking.pop(future, None)
        if faults:
            raise StackError("\n".join(faults))
        if self._cancelled.is_set():
            raise CancelledWorkError

    def _fault_of(self, future: Future[None]) -> str | None:
        error = future.exception()
        if isinstance(error, StackError):
            return str(error)
        if error is not None and not isinstance(error, CancelledWorkError):
            raise error
        return None

    def _check_ports(self) -> None:
        taken = [
            f"port {port} for {port_name} is in use{describe_owner(port)}: end that program, or choose another port "
            f"with --ports {port_name}=PORT or --free-ports"
            for name in self._missing
            for port_name in SERVERS[name].port_names
            if not is_free(port := self._site.ports[port_name])
        ]
        if taken:
            raise StackError("\n".join(taken))

    def _prepare(self, name: str) -> None:
        job = Job(lambda text: self._progress(f"{name:<8} {text}"), self._cancelled)
        SERVERS[name].fetch(self._site, job)
        job.check()
        SERVERS[name].prepare(self._site, job)

    def _spawn(self, name: str) -> None:
        command = SERVERS[name].command(self._site)
        log = self._site.log(name)
        offset = log.stat().st_size if log.exists() else 0
        process = start(
            command.arguments,
            environment=environment_with(command.environment, only=_INHERITED),
            log=log,
            user=command.user,
            die_with_parent=self._die_with_parent,
        )
        self._started.append(name)
        new_record(process, offset).save(self._site.record(name))

    def _become_healthy(self, name: str) -> None:
        record = load_record(self._site.record(name))
        assert record is not None, "a running server has a record"
        reason = self._wait_healthy(name, record)
        if reason is not None:
            raise StackError(f"{reason}\n{self._log_tail(name, record)}")
        seconds, port = time.monotonic() - self._began, self._site.ports[SERVERS[name].port_names[0]]
        state = f"ready after {seconds:.1f} s" if name in self._started else "was already running"
        self._progress(f"{name:<8} {state}, port {port}")

    def _wait_healthy(self, name: str, record: Record) -> str | None:
        """Wait until the server is healthy; return None, or the reason why it did not become healthy."""
        job = Job(self._progress, self._cancelled)
        deadline = time.monotonic() + _HEALTH_LIMIT_SECONDS
        while True:
            if record.process.state() is ProcessState.ENDED:
                return "ended while starting; the last lines of its log:"
            try:
                SERVERS[name].check(self._site)
                SERVERS[name].complete(self._site)
            except UnhealthyError as reason:
                if time.monotonic() >= deadline:
                    return f"not healthy within {_HEALTH_LIMIT_SECONDS:g} s ({reason}); the last lines of its log:"
            else:
                return None
            job.pause(_HEALTH_POLL_SECONDS)

    def _log_tail(self, name: str, record: Record) -> str:
        lines = last_lines(self._site.log(name), _LOG_LINES, offset=record.log_offset)
        return "\n".join(f"    {line}" for line in [*lines, f"({self._site.log(name)})"])
