"""Testbed of the fault scenarios of a PostgreSQL source: servers that all share, and a dataset for each."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from ops.connector.arrival import Arrivals
from stack.local import Stack
from stack.site import REPOSITORY
from tests.faults.result import Say
from tests.faults.scenario import Dose
from tests.support.postgres_source import Source, made_source
from tests.support.stacks import stack_with_postgres

SERVERS: Final = ("kafka", "connect", "postgres")
LOGS: Final = REPOSITORY / ".faults" / "logs"
CAUGHT_UP_S: Final = 120.0


class SourceFaultTestbed:
    """Kafka, Connect and PostgreSQL, and a folder for datasets."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder

    @classmethod
    @contextmanager
    def opened(cls, say: Say) -> Iterator[Self]:
        """Start the servers in a temporary folder; deleted at the end."""
        folder = Path(tempfile.mkdtemp(prefix="millrace-faults-"))
        began = time.monotonic()
        try:
            with stack_with_postgres(folder / "stack", SERVERS) as stack:
                (folder / "datasets").mkdir()
                say(f"Kafka, Connect and PostgreSQL are there after {time.monotonic() - began:.0f} s, in {folder}")
                yield cls(stack, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def source(self) -> Any:
        """Make a dataset for one scenario; a context manager."""
        return made_source(self.stack, self.folder / "datasets")

    def heal(self) -> None:
        """Start the servers that a fault has left down."""
        self.stack.up()

    def keep_logs(self, name: str) -> Path:
        """Copy the servers' logs to a folder that is kept."""
        target = LOGS / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.stack.site.folder / "logs", target)
        return target


@dataclass
class SourceScenario:
    """A running scenario.

    Attributes:
        faults: what the scenario itself expects and did not see.
        notes: more to report, by name.
    """

    testbed: SourceFaultTestbed
    source: Source
    dose: Dose
    draw: random.Random
    say: Say
    faults: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def arrived(self) -> int:
        """The number of records in the topic, with the markers of transactions."""
        stack = self.testbed.stack
        return Arrivals(stack.environment()["KAFKA_BOOTSTRAP"]).end([f"postgres.{self.source.name}.customers"])

    def expect(self, condition: object, otherwise: str) -> None:
        """Note a fault unless the condition holds."""
        if not condition:
            self.faults.append(otherwise)

    def until_caught_up(self) -> None:
        """Wait until the connector needs nothing more of what was written so far."""
        ((place,),) = self.source.run("SELECT pg_current_wal_lsn()::text")
        deadline = time.monotonic() + CAUGHT_UP_S
        passed = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND confirmed_flush_lsn >= %s::pg_lsn"
        while not self.source.run(passed, self.source.slot, place):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the connector has not reached {place} after {CAUGHT_UP_S:.0f} s")
            time.sleep(0.2)
