"""`python -m batch` with a short lease, a place to freeze at, and perhaps without one safeguard.

    python -m tests.faults.lake.program NAME run …

runs the real command line after the safeguard called NAME was taken out; `none` takes out nothing. With
`FAULTS_STOP_AT=before silver/orders` the process freezes itself (SIGSTOP) once the write to that table is prepared,
with `after` once it is committed; it says so first.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from deltalake import CommitProperties

from batch.delta import commits, delta_rs, table
from batch.delta.rows import Rows
from batch.pipeline import lease
from batch.spark import session

LEASE_S: Final = 3
RENEW_S: Final = 1.0
FROZEN: Final = "frozen "
PROGRESS_ALONE: Final = "progress alone"


def shorten_the_lease() -> None:
    """A killed run's lease ends soon; nothing else of it is different."""
    _replace(lease, "LEASE_S", LEASE_S)
    _replace(lease, "RENEW_S", RENEW_S)


def stop_at(place: str) -> None:
    """Freeze right before or right after a table's commit."""
    real: Callable[..., Any] = commits.Commits.made

    def freeze(moment: str, name: str) -> None:
        if place == f"{moment} {name}":
            print(f"{FROZEN}{place}", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)

    @contextmanager
    def made(self: commits.Commits, run_id: str, *rest: Any, **more: str) -> Iterator[Any]:
        with real(self, run_id, *rest, **more) as committed:
            if run_id != PROGRESS_ALONE:
                freeze("before", self._name)
            yield committed
        freeze("after", self._name)

    _replace(commits.Commits, "made", made)


# -- safeguards that are taken out ------------------------------------------------------------------------------------


def default_log_store() -> None:
    """Commit through Delta's own log store for S3, which checks for the file first and then writes it."""
    session._DELTA["spark.delta.logStore.s3a.impl"] = "io.delta.storage.S3SingleDriverLogStore"


def progress_alone() -> None:
    """Commit the progress first, and the rows after it."""
    real: Callable[..., Any] = table.LakeTable.append

    def append(self: table.LakeTable, rows: Any, *, run_id: str, **rest: Any) -> Any:
        real(self, Rows.of(rows).frame.limit(0), run_id=PROGRESS_ALONE, **rest)
        self.progress()
        return real(self, rows, run_id=run_id, **rest)

    _replace(table.LakeTable, "append", append)


def no_numbers() -> None:
    """Commit without transaction numbers, so that a run cannot see that another has written the same rows."""
    real: Callable[..., Any] = commits.Commits._configured

    def configured(self: commits.Commits, settings: dict[str, str]) -> Any:
        numbers = (commits._TXN_APP, commits._TXN_VERSION)
        return real(self, {name: value for name, value in settings.items() if name not in numbers})

    def unnumbered(note: str, _app: str, _number: int) -> CommitProperties:
        return CommitProperties(custom_metadata={"userMetadata": note}, max_commit_retries=0)

    _replace(commits.Commits, "_configured", configured)
    _replace(commits, "commit_properties", unnumbered)
    _replace(delta_rs.DeltaRsTable, "number", lambda _self, _app: -1)


SAFEGUARDS: Final[dict[str, Callable[[], None]]] = {
    "none": lambda: None,
    "default_log_store": default_log_store,
    "progress_alone": progress_alone,
    "no_numbers": no_numbers,
}


def _replace(owner: Any, name: str, by: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more: adapt the mutant"
    setattr(owner, name, by)


def install(name: str) -> None:
    """Prepare this process."""
    shorten_the_lease()
    SAFEGUARDS[name]()
    if place := os.environ.get("FAULTS_STOP_AT"):
        stop_at(place)


if __name__ == "__main__":
    install(sys.argv.pop(1))
    from batch.__main__ import main

    sys.exit(main())
