"""Benchmark of the order stream: run each system on the same topics of one stack, and measure it from outside."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bench import inputs
from bench.figures import MOST_FOREIGN, Figures, least_disturbed
from bench.inputs import Expected, Input
from bench.kafka import create_topics, delete_topics
from bench.run import Feed, measure
from bench.systems import System, Task, output_topic, prepared
from bench.testbed import DATASET, RESULTS, Say, StackTestbed, generator, plan_of
from config.settings import RedisSettings
from stack.errors import StackError
from streams.adapters.redis import RedisConsole, Script
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL, ORDER_INCOMPLETE, change_topic

PARTITIONS: Final = 4
SERVERS: Final = ("kafka", "redis")
TRIES: Final = 3
RUNS: Final = RESULTS / "stream-runs.jsonl"
"""The file to which each attempt is appended when it ends, so that an interrupted benchmark keeps its results."""
_PREFIX: Final = "bench_"
_FORGET: Final = Script("return redis.call('FLUSHALL')")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The topics that contain an input or a share of it, and the orders expected as output."""

    orders: str
    details: str
    share: float
    events: int
    expected: Expected


class StreamBench:
    """Measures systems one after the other on servers whose topics contain one input."""

    def __init__(self, testbed: StackTestbed, size: Input, say: Say) -> None:
        self._testbed = testbed
        self._size = size
        self._say = say
        self._runs = 0
        testbed.apply_topics("bench")
        self._sources = self._load()

    @classmethod
    @contextmanager
    def opened(cls, size: Input, say: Say) -> Iterator[Self]:
        """Start new servers and write the input; after the `with` block, stop the servers and delete their data."""
        with StackTestbed.opened(SERVERS, partitions=PARTITIONS) as testbed:
            yield cls(testbed, size, say)

    def measured(self, system: System) -> Figures:
        """Measure one run, repeating it at most twice if other programs used too much of the machine."""
        tries: list[Figures] = []
        while not tries or (tries[-1].foreign_cpu > MOST_FOREIGN and len(tries) < TRIES):
            tries.append(self._run(system))
            self._note(tries[-1])
        return least_disturbed(tries)

    def _run(self, system: System) -> Figures:
        self._runs += 1
        name = f"{system.label}_{self._runs}"
        source = self._sources[system.in_part]
        task = Task(
            group=f"{_PREFIX}{name}",
            orders=source.orders,
            details=source.details,
            output=output_topic(system, str(self._runs)),
            folder=self._testbed.folder / name,
        )
        task.folder.mkdir()
        self._clear(system, task)
        feed = Feed(
            input=self._size.name,
            share=source.share,
            events=source.events,
            expected=source.expected,
            bootstrap=self._testbed.kafka.bootstrap,
            servers=self._testbed.pids,
        )
        try:
            return measure(system, task, feed, prepared(system, task, self._testbed.environment))
        finally:
            self._keep_log(task.folder)
            shutil.rmtree(task.folder / "state", ignore_errors=True)
            # The names of all topics that a system creates begin with the name of its consumer group.
            delete_topics(self._testbed.kafka.bootstrap, beginning=[task.group])

    def _clear(self, system: System, task: Task) -> None:
        """Empty the output topics and Redis, in which locks of an earlier run would keep orders from being emitted."""
        outputs = (ORDER_FINAL, ORDER_AMENDED, ORDER_INCOMPLETE, DEAD_LETTERS)
        delete_topics(self._testbed.kafka.bootstrap, named=outputs, beginning=[task.output])
        if system.name == "millrace":
            with RedisConsole(RedisSettings.read(self._testbed.environment).url, database=0) as redis:
                redis.call(_FORGET, b"")
            self._testbed.apply_topics(task.group)
        else:
            create_topics(self._testbed.kafka.bootstrap, task.output, partitions=PARTITIONS)

    def _load(self) -> tuple[Source, Source]:
        """Write the input to Kafka; return the whole input and the part that slow systems process."""
        plan, began = plan_of(self._size), time.monotonic()
        orders = list(inputs.orders_of(plan, generator()))
        self._testbed.write(inputs.payment_method_changes(plan, generator()))
        whole = self._write(orders, change_topic(DATASET, inputs.ORDERS), change_topic(DATASET, inputs.DETAILS), 1.0)
        part = whole
        if self._size.part < 1:
            names = f"{_PREFIX}part_{inputs.ORDERS}", f"{_PREFIX}part_{inputs.DETAILS}"
            create_topics(self._testbed.kafka.bootstrap, *names, partitions=PARTITIONS)
            part = self._write(orders[: round(len(orders) * self._size.part)], *names, self._size.part)
        self._say(f"{self._size.name}: {whole.events:,} events written in {time.monotonic() - began:.1f} s")
        return whole, part

    def _write(self, orders: Sequence[inputs.Order], orders_topic: str, details_topic: str, share: float) -> Source:
        topics = {inputs.ORDERS: orders_topic, inputs.DETAILS: details_topic}
        events = self._testbed.write(inputs.order_changes(orders), topics)
        expected = inputs.expected_of(orders)
        return Source(orders=orders_topic, details=details_topic, share=share, events=events, expected=expected)

    def _note(self, run: Figures) -> None:
        self._say(
            f"{run.input:<6} {run.name:<14} {run.mode:<13} {run.threads} thread(s) "
            f"{run.events_per_s:>9,.0f} events/s, "
            f"{run.cpu_s:.1f} s CPU, {run.rss_mb:,.0f} MB, {run.missing} missing, {run.duplicates} duplicates, "
            f"{run.wrong} wrong, other programs used {run.foreign_cpu:.0%}"
        )
        with RUNS.open("a") as file:
            file.write(json.dumps(run.as_json()) + "\n")

    def _keep_log(self, folder: Path) -> None:
        logs = RESULTS / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for log in folder.glob("*.log"):
            with contextlib.suppress(OSError):
                shutil.copy(log, logs / f"{self._size.name}-{folder.name}.log")


def measured_all(sizes: Sequence[Input], systems: Sequence[System], *, repeat: int, say: Say) -> list[Figures]:
    """Measure all systems in each of several rounds, so that a disturbance does not affect one system alone."""
    RUNS.unlink(missing_ok=True)
    runs: list[Figures] = []
    for size in sizes:
        with StreamBench.opened(size, say) as bench:
            # The expected orders are millions of objects; collecting garbage among them would delay the observations.
            gc.collect()
            gc.freeze()
            for system in [system for number in range(repeat) for system in rotated(systems, number)]:
                try:
                    runs.append(bench.measured(system))
                except StackError as error:
                    say(f"{size.name} {system.label} failed: {error}")
    return runs


def rotated(systems: Sequence[Any], number: int) -> list[Any]:
    """Return the systems in the order for round `number`, so that each round begins with a different system."""
    first = number % len(systems)
    return [*systems[first:], *systems[:first]]
