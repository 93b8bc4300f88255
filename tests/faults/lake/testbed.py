"""Testbed of the lake's fault scenarios: all share one shop with its archive and lake."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from batch.storage.paths import Lake
from config.settings import LakeSettings
from ops.dataset.simulation import Simulation
from stack.process import ProcessState
from stack.record import process_state
from stack.site import REPOSITORY
from tests.faults.lake.process import BatchProcess
from tests.faults.result import Say
from tests.support.lake.shop_statements import simulator
from tests.support.lake.testbed import LakeTestbed
from tests.support.lake.testbed_setup import SERVERS, opened_testbed

LOGS: Final = REPOSITORY / ".faults" / "logs"
STEPS: Final = 100
QUICK_JAVA: Final = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
"""For Java that lives for one run: to compile with the second compiler takes longer than it saves."""


class LakeFaultTestbed:
    """A shop and its lake, for fault scenarios.

    Attributes:
        base: testbed with a long-lived Java; it does the undisturbed runs, and judges.
        processes: runs that faults happen to, until the next `heal`.
    """

    def __init__(self, base: LakeTestbed, say: Say) -> None:
        self.base = base
        settings, prefix = LakeSettings.read(base.environment), base.definition.lake_prefix
        self.lake = Lake(bronze=settings.bronze, silver=settings.silver, gold=settings.gold, prefix=prefix)
        self.processes: list[BatchProcess] = []
        self._say = say

    @classmethod
    @contextmanager
    def opened(cls, say: Say) -> Iterator[Self]:
        """Open a new shop in a temporary folder, after the lake's first run; deleted at the end."""
        folder = Path(tempfile.mkdtemp(prefix="millrace-faults-"))
        began = time.monotonic()
        try:
            with opened_testbed(folder, ("streams.archive",), say=lambda line: None) as base:
                testbed = cls(base, say)
                base.until_archived()
                base.batch("run", "--wait")
                say(f"the shop and its lake are there after {time.monotonic() - began:.0f} s, in {folder}")
                try:
                    yield testbed
                finally:
                    testbed.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def change(self, draw: random.Random) -> None:
        """Simulate the shop with changes to every table, and wait until they are archived."""
        seed = draw.randrange(10**6)
        with simulator(self.base, Simulation(insert_p=0.5, update_p=0.3, delete_p=0.2, seed=seed)) as shop:
            for _ in range(STEPS):
                shop.step()
        self.base.change(("UPDATE customers SET phone = %s WHERE MOD(id, 10) = %s", [str(seed), seed % 10]))

    def start(self, *module: str, **more: str) -> BatchProcess:
        """Start a Python module with the settings of the shop, and `more`."""
        process = BatchProcess(*module, environment={**self.base.environment, **QUICK_JAVA, **more})
        self.processes.append(process)
        return process

    def heal(self) -> None:
        """End the started processes, and restart servers that a fault has left down or frozen."""
        for process in self.processes:
            process.close()
        self.processes.clear()
        for server in SERVERS:
            if process_state(self.base.stack.site.record(server)) is ProcessState.PAUSED:
                self.base.stack.resume(server)
        self.base.stack.up()

    def keep_logs(self, name: str) -> Path:
        """Copy the logs of the servers, the runs and their output to a folder that is kept."""
        target = LOGS / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        folder = self.base.folder
        logs = [
            path for each in ("logs", "stack/logs", "streams.archive", ".") for path in (folder / each).glob("*.log")
        ]
        for number, log in enumerate(logs):
            shutil.copy(log, target / f"{number}-{log.name}")
        for number, process in enumerate(self.processes):
            (target / f"run-{number}.txt").write_text(process.text)
        return target

    def close(self) -> None:
        """End the processes started in addition to the shop."""
        for process in self.processes:
            process.close()
