"""Quix Streams, exactly once, beside the workers in the same fault: its output is reported and not judged."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException

from bench.kafka import create_topics
from bench.systems import EXACTLY_ONCE, PEER_PYTHON, Running, System, Task, prepared
from stack.errors import StackError
from streams.adapters.committed_reader import CommittedReader, TopicError
from tests.faults.fault_shop import DETAILS_TOPIC, ORDERS_TOPIC
from tests.faults.scenario import Scenario
from tests.faults.testbed import PARTITIONS
from tests.support.background import in_background

HELD_SHARE: Final = 0.2
"""Share of Quix's transactions whose end is held. It makes one a second, and the workers some hundred."""

RESTART_S: Final = 5.0
CATCH_UP_LIMIT_S: Final = 90.0
"""Longer than a transaction may stay open; one that a process leaves open hides the records behind it."""

NAME: Final = "quix exactly-once"
QUIX: Final = System(name="quix-streams", mode=EXACTLY_ONCE)


class Beside:
    """Quix on the topics of a scenario, with an output topic of its own.

    Attributes:
        endings: the last lines of the processes that ended by themselves, and how many ended with each.
    """

    def __init__(self, scenario: Scenario) -> None:
        testbed = scenario.testbed
        self._scenario = scenario
        self._output = f"quix-{testbed.app_id()}"
        self.endings: Counter[str] = Counter()
        folder = testbed.folder / self._output
        folder.mkdir()
        create_topics(testbed.kafka.bootstrap, self._output, partitions=PARTITIONS)
        names = {"orders": ORDERS_TOPIC, "details": DETAILS_TOPIC, "output": self._output}
        environment = {**testbed.environment, **testbed.network.workers(testbed.environment)}
        self._process: Running = prepared(QUIX, Task(group=self._output, folder=folder, **names), environment)

    def run(self, stop: threading.Event) -> None:
        """Keep the process running until `stop` is set: start it again after it has ended, as a supervisor would."""
        try:
            self._process.start()
            while not stop.wait(RESTART_S):
                if not self._process.is_running():
                    self.endings[_last_line(self._process.log)] += 1
                    self._process.start()
            self._process.stop()
        except OSError as error:
            self.endings[str(error)] += 1

    def report(self) -> Mapping[str, Any]:
        """Let it catch up, and return what it has published: orders, and how many of them twice or not at all.

        Raises:
            TopicError: its output cannot be read.
        """
        seen, expected = self._published(set(self._scenario.watch.seen_ns()))
        late = self._scenario.testbed.network.kafka.beside
        return {
            "transactions": late.seen,
            "held": late.held,
            "accepted": late.answers.count(0),
            "orders": len(expected & set(seen)),
            "twice": sum(count > 1 for count in seen.values()),
            "missing": len(expected - set(seen)),
            "ended": dict(self.endings),
        }

    def _published(self, expected: set[str]) -> tuple[Counter[str], set[str]]:
        """Count its records by key, once it has published what the workers have, or the time is over."""
        seen: Counter[str] = Counter()
        deadline = time.monotonic() + CATCH_UP_LIMIT_S
        with CommittedReader(self._scenario.testbed.kafka.bootstrap, self._output, "faults-beside") as reader:
            while expected - set(seen) and time.monotonic() < deadline:
                reader.visit_to_end(lambda key, _: seen.update([(key or b"").decode()]))
                time.sleep(1.0)
        return seen, expected


@contextmanager
def quix(scenario: Scenario) -> Iterator[None]:
    """Run Quix during the block, if it is installed (`make bench` does that), and note what it did, or why it cannot.

    Nothing that happens to it ends the scenario.
    """
    if not PEER_PYTHON.exists():
        scenario.notes[NAME] = "not installed"
        yield
        return
    try:
        beside = Beside(scenario)
    except (KafkaException, OSError, StackError) as error:
        scenario.notes[NAME] = f"not started: {error}"
        yield
        return
    with in_background(beside.run, "quix"):
        yield
        try:
            scenario.notes[NAME] = beside.report()
        except (KafkaException, TopicError) as error:
            scenario.notes[NAME] = f"not read: {error}; ended: {dict(beside.endings)}"
    scenario.say(f"    {NAME}: {scenario.notes[NAME]}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "no output")
