"""Run all cases of all systems on one testbed, and compare the Gold tables after every run with the source."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from bench.figures import MOST_FOREIGN
from bench.lake import gold
from bench.lake.figures import (
    AS_AT_SIZE_1,
    FIRST,
    MILLRACE,
    NOTHING,
    ONE_PERCENT,
    WARM_NOTHING,
    WARM_ONE_PERCENT,
    Row,
)
from bench.lake.run import Cost, measured
from bench.lake.service import Service
from bench.lake.systems import LakeSystem, environment_of
from bench.lake.testbed import LakeBenchTestbed
from bench.stream import rotated
from bench.testbed import RESULTS, Say, generator
from config.settings import CacheSettings
from ops.dataset.generator.plan import Plan, make_plan
from stack.errors import StackError

RUNS: Final = RESULTS / "batch-runs.jsonl"
"""The file to which each run is appended when it ends, so that an interrupted benchmark keeps its results."""
WARM_UP_CHANGES: Final = 2
"""Number of changes that the service processes before the measured change, to let Java compile the service's code."""
IDLE_CYCLES: Final = 5
CLASSES: Final = "spark-classes-*"
_OF_SIZE_1: Final = 0.01


class LakeBench:
    """Runs the measured cases, round by round, on one shop."""

    def __init__(
        self, testbed: LakeBenchTestbed, size: float, systems: Sequence[LakeSystem], cases: Collection[str], say: Say
    ) -> None:
        self._testbed = testbed
        self._size = size
        self._systems = systems
        self._cases = cases
        self._say = say
        self._expected = gold.of_source(testbed)
        self._round = 0
        self._log = RESULTS / "logs" / "batch.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Make sure that Java's class-data archive exists, as it does on any machine after Millrace's first run."""
        cache = CacheSettings.read().expanded()
        for system in self._systems:
            if system.name == MILLRACE and not any(cache.glob(CLASSES)):
                self._say("running Millrace once, without measuring, to create Java's class-data archive")
                self._run(system)

    def round(self) -> Iterator[Row]:
        """Run every requested case once, in the order in which the cases would occur in practice; yield the results."""
        testbed, systems = self._testbed, rotated(self._systems, self._round)
        self._round += 1
        ours = [system for system in systems if system.name == MILLRACE]
        testbed.empty()
        yield from self._each(systems, FIRST, 0)
        if NOTHING in self._cases:
            yield from self._each(ours, NOTHING, 0)
        if ONE_PERCENT in self._cases:
            self._change()
            yield from self._each(systems, ONE_PERCENT, testbed.changed)
        if AS_AT_SIZE_1 in self._cases and self._size != 1:
            self._change(orders=round(generator().orders * _OF_SIZE_1))
            yield from self._each(ours, AS_AT_SIZE_1, testbed.changed)
        if ours and {WARM_ONE_PERCENT, WARM_NOTHING} & set(self._cases):
            try:
                yield from self._warm(ours[0])
            except StackError as error:
                self._say(f"measuring cycles of the service failed: {error}")

    def _change(self, *, orders: int | None = None) -> None:
        self._testbed.change(orders=orders)
        self._expected = gold.of_source(self._testbed)

    def _each(self, systems: Sequence[LakeSystem], case: str, changed: int) -> Iterator[Row]:
        for system in systems:
            try:
                cost = self._run(system)
            except StackError as error:
                self._say(f"{case} {system.name} failed: {error}")
                continue
            if case in self._cases:
                yield self._row(system, case, cost, changed)

    def _run(self, system: LakeSystem) -> Cost:
        commands = system.run_commands(self._testbed)
        return measured(commands, environment_of(self._testbed), self._log, self._testbed.servers)

    def _warm(self, system: LakeSystem) -> Iterator[Row]:
        """Run the service: let it process some changes to warm up, measure one change, then measure idle cycles."""
        testbed = self._testbed
        held = testbed.held_back(WARM_UP_CHANGES + 1)
        self._expected = gold.of_source(testbed)
        with Service.running(testbed) as service:
            for number, names in enumerate(held, start=1):
                service.idle()
                testbed.release(names)  # while no cycle is running
                cycle, cost = service.busy()
                self._say(f"the service processed change {number} in {cycle.seconds:.1f} s")
            service.idle()
            window = service.window()
            cycles = [service.idle() for _ in range(IDLE_CYCLES)]
            seconds = sum(each.seconds for each in cycles) / IDLE_CYCLES
            idle = window.cost(seconds=seconds, parts=IDLE_CYCLES)
        found = (WARM_ONE_PERCENT, cost, testbed.changed), (WARM_NOTHING, idle, 0)
        for case, each, changed in found:
            if case in self._cases:
                yield self._row(system, case, each, changed)

    def _row(self, system: LakeSystem, case: str, cost: Cost, changed: int) -> Row:
        found = system.gold(self._testbed)
        row = Row(
            system=system.name,
            case=case,
            size=self._size,
            customers=self._testbed.plan.customers,
            rows=sum(each.rows for each in found.values()),
            changed=changed,
            wrong=tuple(gold.differing(found, self._expected)),
            **vars(cost),
        )
        with RUNS.open("a") as file:
            file.write(json.dumps(row.as_json()) + "\n")
        self._say(_line(row))
        return row


def _line(row: Row) -> str:
    wrong = f", WRONG: {', '.join(row.wrong)}" if row.wrong else ""
    foreign = f"other programs used {row.foreign_cpu:.0%}{', too much' if row.foreign_cpu > MOST_FOREIGN else ''}"
    return (
        f"{row.case:<16} {row.system:<23} {row.seconds:8.3f} s, {row.cpu_s:6.1f} s CPU, {row.rss_mb:6,.0f} MB, "
        f"{row.rows:,} Gold rows{wrong}; {foreign}"
    )


def plan_of(size: float, customers: int | None) -> Plan:
    """Compute the numbers of orders, product lines and customers for a size."""
    return make_plan(generator(), size=size, customers=customers)


def measured_all(
    plan: Plan, size: float, systems: Sequence[LakeSystem], cases: Collection[str], *, repeat: int, say: Say
) -> list[Row]:
    """Run all rounds on a new testbed; return the figures of all runs, including disturbed runs."""
    RUNS.unlink(missing_ok=True)
    with LakeBenchTestbed.opened(plan, say) as testbed:
        bench = LakeBench(testbed, size, systems, cases, say)
        bench.prepare()
        return [row for _ in range(repeat) for row in bench.round()]
