"""The servers of the demo: those of the stream first, and the lake's object storage as soon as its programs are there.

Building MinIO and downloading Spark's jars takes minutes the first time. It goes on in the background while the stream
is running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from demo.interruption import Interruption
from demo.progress import MEASURED_S, MINIO_BUILD_S, Progress
from stack.artifacts.cache import is_whole
from stack.artifacts.lake.jars import fetch_lake_jars
from stack.artifacts.minio import fetch_minio, minio_folder
from stack.background import Background
from stack.errors import StackError
from stack.local import Stack
from stack.prerequisites import check_prerequisites
from stack.servers import SERVERS, servers_for
from stack.site import Site

LAKE: Final = ("minio",)
SHOWN: Final = {
    "kafka": "Kafka",
    "connect": "Connect",
    "mariadb": "MariaDB",
    "postgres": "PostgreSQL",
    "redis": "Redis",
}
FETCH_AGAIN: Final = "what was fetched is kept: solve this, and run `make demo` again"


class Servers:
    """The servers of one stack, started in two groups; inside a `with` block, `background` fetches the lake's programs.

    Args:
        interruption: defers signals while servers are being started.
        engine: engine of the dataset's database.
    """

    def __init__(
        self,
        stack: Stack,
        progress: Progress,
        interruption: Interruption,
        *,
        background: Background,
        engine: str = "mysql",
    ) -> None:
        self._stack = stack
        self._stream = tuple(name for name in servers_for(engine) if name not in LAKE)
        self._progress = progress
        self._interruption = interruption
        self._background = background

    def __enter__(self) -> Self:
        self._background.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.__exit__(kind, error, trace)

    def start_stream(self) -> None:
        """Start the servers of the stream.

        Raises:
            StackError: a server could not be started.
        """
        *others, last = (SHOWN[name] for name in self._stream)
        with self._progress.phase("servers", f"start {', '.join(others)} and {last}"):
            self._start(self._stream)

    def kill(self, server: str) -> float:
        """Kill a server (SIGKILL) and start it again; return the seconds until it was healthy.

        Raises:
            StackError: the server could not be started again.
        """
        began = time.monotonic()
        self._stack.kill(server)
        self._start((server,))
        return time.monotonic() - began

    def check_lake(self) -> None:
        """Check that fetching the lake's programs has not failed so far.

        Raises:
            StackError: a program could not be fetched; the message says what to do.
        """
        _with_remedy(self._background.check)

    def start_lake(self) -> None:
        """Wait for the lake's programs, and start MinIO.

        Raises:
            StackError: a program could not be fetched, or MinIO could not be started.
        """
        with self._progress.phase("storage", "start MinIO, the object storage"):
            unfinished = self._background.unfinished()
            if unfinished:
                self._progress.note(f"{' and '.join(unfinished)}, for {self._background.seconds:.0f} s so far")
            _with_remedy(self._background.wait)
            self._start(LAKE)

    def _start(self, servers: tuple[str, ...]) -> None:
        with self._interruption.deferred() as cancelled:
            self._stack.up(self._progress.note, only=servers, cancelled=cancelled)


def lake_programs(cache: Path) -> Background:
    """Return the background work that builds MinIO and downloads Spark's jars, if they are not in the cache."""
    return Background(
        {
            "building MinIO": lambda job: fetch_minio(cache, job),
            "downloading Spark's jars": lambda job: fetch_lake_jars(cache, job),
        }
    )


def check_programs(site: Site, engine: str) -> None:
    """Check the programs that must be installed by hand, those of the lake too, before anything is started.

    Args:
        engine: engine of the dataset's database.

    Raises:
        StackError: programs are missing or too old; the message has one line for each.
    """
    check_prerequisites(item for name in servers_for(engine) for item in SERVERS[name].prerequisites(site))


def estimates(cache: Path, measured_s: Mapping[str, float] = MEASURED_S) -> dict[str, float]:
    """Return the expected duration of each phase in seconds; while MinIO is not in the cache, the lake waits for it."""
    found = dict(measured_s)
    if not is_whole(minio_folder(cache)):
        phases = list(found)
        meanwhile = sum(found[name] for name in phases[: phases.index("storage")])
        found["storage"] += max(0.0, MINIO_BUILD_S - meanwhile)
    return found


def _with_remedy(work: Callable[[], None]) -> None:
    try:
        work()
    except StackError as error:
        raise StackError(f"{error}\n{FETCH_AGAIN}") from None
