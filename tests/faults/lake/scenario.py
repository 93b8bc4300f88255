"""A running fault scenario of the lake: its shop, runs that can be killed, readers and seeded random choices."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from batch.pipeline.manifest import Manifests
from batch.storage.objects import object_folder
from config.settings import ObjectStoreSettings
from tests.faults.lake.lake_judgement import LakeJudgement, fingerprint_query, judge_lake
from tests.faults.lake.process import BatchProcess
from tests.faults.lake.testbed import LakeFaultTestbed
from tests.faults.result import Say
from tests.faults.scenario import Dose
from tests.support.background import in_background
from tests.support.lake.testbed import Answer

TABLES: Final = {
    "bronze": ("orders", "order_details", "customers", "payment_method"),
    "silver": ("orders", "order_details", "customers", "payment_method"),
    "gold": ("dim_customer", "dim_payment_method", "fact_orders", "fact_order_products"),
}
"""Tables of which every change of the shop has something."""

LOOK_EVERY_S: Final = 0.2

Seen = tuple[tuple[Any, ...], ...]
"""What a reader sees of Gold: rows and hash of each table, in one query."""


@dataclass
class LakeScenario:
    """A running scenario.

    Attributes:
        mutant: the safeguard that the runs lack which are started as processes.
        notes: more to report, by name.
    """

    testbed: LakeFaultTestbed
    dose: Dose
    draw: random.Random
    say: Say
    mutant: str
    judgement: LakeJudgement = field(default_factory=LakeJudgement)
    notes: dict[str, Any] = field(default_factory=dict)

    # -- the shop and its runs ----------------------------------------------------------------------------------------

    def change(self) -> None:
        """Simulate the shop for a while, and wait until its changes are archived."""
        self.testbed.change(self.draw)
        self.testbed.base.until_archived()

    def start_run(self, *, stop_at: str = "", **more: str) -> BatchProcess:
        """Start `run --wait` as a process; `stop_at` is where it freezes itself, see `program.py`."""
        program = ("tests.faults.lake.program", self.mutant, "run", "--wait")
        return self.testbed.start(*program, FAULTS_STOP_AT=stop_at, **more)

    def repair(self) -> None:
        """Start the next run, which has to succeed without any repair."""
        answer = self.testbed.base.batch("run", "--wait", code=None)
        self.expect("fault", answer.code == 0, f"the next run fails: {answer.text[-500:]}")

    def place(self, layer: str) -> str:
        """Choose a random table of a layer."""
        return f"{layer}/{self.draw.choice(TABLES[layer])}"

    # -- what is seen -------------------------------------------------------------------------------------------------

    def look(self) -> Seen:
        """Read Gold as a reader sees it now."""
        return tuple(self.testbed.base.asked_of_spark(fingerprint_query()))

    @contextmanager
    def readers(self) -> Iterator[list[Mapping[str, int]]]:
        """Record which table versions are published during the block; yields each distinct state once.

        A version of a table never changes, so no reader sees anything else; and this costs the runs nothing.
        """
        folder = object_folder(self.testbed.lake.runs(), ObjectStoreSettings.read(self.testbed.base.environment))
        manifests = Manifests(folder)
        seen = [_in_force(manifests)]

        def look(stop: threading.Event) -> None:
            while True:
                is_last = stop.wait(LOOK_EVERY_S)
                if (now := _in_force(manifests)) != seen[-1]:
                    seen.append(now)
                if is_last:
                    return

        with in_background(look, "reader"):
            yield seen

    # -- judging ------------------------------------------------------------------------------------------------------

    def expect(self, invariant: str, holds: object, otherwise: str) -> None:
        """Note a fault unless something holds."""
        if not holds:
            self.judgement.add(invariant, otherwise)

    def expect_error(self, answer: Answer, *texts: str) -> None:
        """Expect that a run has failed with an error line that contains one of these texts."""
        named = [line for line in answer.text.splitlines() if any(text in line for text in texts)]
        self.expect("errors", answer.code == 1, f"exit code {answer.code}: {answer.text[-300:]}")
        self.expect("errors", named, f"no line says any of {texts}: {answer.text[-500:]}")
        self.expect("errors", "Traceback" not in answer.text, f"a traceback is printed: {answer.text[-500:]}")
        if named:
            self.notes.setdefault("errors", []).append(named[0].strip()[:200])

    def judge(self) -> None:
        """Check I1, I2 and I7 now."""
        judge_lake(self.testbed.base, self.testbed.lake, self.judgement)

    def struck(self, what: str) -> None:
        """Note that a fault was done."""
        self.say(f"    {what}")

    def pause(self, shortest_s: float, longest_s: float) -> None:
        """Wait for a random time."""
        time.sleep(self.draw.uniform(shortest_s, longest_s))

    def turns(self, choices: Sequence[str]) -> Iterator[str]:
        """Cycle through the choices endlessly, beginning with a random one."""
        number = self.draw.randrange(len(choices))
        while True:
            yield choices[number % len(choices)]
            number += 1


def _in_force(manifests: Manifests) -> Mapping[str, int]:
    newest = manifests.newest(datetime.now(UTC))
    assert newest is not None, "the lake has no run"
    return newest.versions
