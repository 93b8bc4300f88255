"""Testbed of the fault scenarios of a PostgreSQL source: servers that all share, and a dataset for each."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any, Final

from ops.connector.arrival import Arrivals
from tests.faults.postgres_testbed import PostgresFaultTestbed
from tests.faults.result import Say
from tests.faults.scenario import Dose
from tests.support.postgres_source import Source, made_source

CAUGHT_UP_S: Final = 120.0


class SourceFaultTestbed(PostgresFaultTestbed):
    """Kafka, Connect and PostgreSQL, and a folder for datasets."""

    servers = ("kafka", "connect", "postgres")
    title = "Kafka, Connect and PostgreSQL"

    def source(self) -> Any:
        """Make a dataset for one scenario; a context manager."""
        datasets = self.folder / "datasets"
        datasets.mkdir(exist_ok=True)
        return made_source(self.stack, datasets)


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
