"""Measure one run of one system, from the start of its process to its last output, in the same way for all systems.

All times are wall-clock times of this process. Peers write the time of their first processed event to a file. Millrace
does not, so the time of the last check before its consumer group was stable is used. This time is earlier than the
first event, so it makes Millrace's rate lower, not higher.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.figures import Figures
from bench.inputs import Expected
from bench.kafka import GroupWatch, OutputWatch
from bench.machine import Spent, Usage, foreign_share, tree_usage
from bench.systems import Running, System, Task
from bench.verdict import Judge, Verdict
from ops.dataset.final_topic import FinalReader
from stack.errors import StackError
from stack.record import last_lines

SAMPLE_S: Final = 0.05
STALL_LIMIT_S: Final = 90.0
LATE_S: Final = 2.0
"""Time to wait for duplicate outputs after the last expected order."""
_LOG_LINES: Final = 15
_MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Feed:
    """The input and the servers of a run; `servers` are the pids of Kafka and Redis."""

    input: str
    share: float
    events: int
    expected: Expected
    bootstrap: str
    servers: Sequence[int]


@dataclass(kw_only=True)
class Watched:
    """What was observed during a run: Unix times in seconds, peak memory, and processor time until the last output."""

    started_at: float
    joined_at: float | None = None
    rss_bytes: int = 0
    spent: Spent | None = None


def measure(system: System, task: Task, feed: Feed, running: Running) -> Figures:
    """Run a system until all expected orders are visible; if it stops or stalls earlier, the rest count as missing.

    Raises:
        StackError: the system wrote no output at all; the message has the end of its log.
    """
    with OutputWatch(feed.bootstrap, task.output) as watch:
        try:
            watched = _watched(task, feed, running, watch)
            time.sleep(LATE_S)
        finally:
            running.stop()
    return figures(system, feed, watched, watch, _first_processed(task, watched), _verdict(task, feed))


def _watched(task: Task, feed: Feed, running: Running, watch: OutputWatch) -> Watched:
    before = Spent.now(Usage(), feed.servers)
    seen = Watched(started_at=time.time())
    group = GroupWatch(feed.bootstrap, task.group)
    running.start()
    moved_at, count = time.monotonic(), -1
    while True:
        if seen.joined_at is None and not task.mark.exists():
            seen.joined_at = group.joined_at()
        usage = tree_usage(*running.pids)
        seen.rss_bytes = max(seen.rss_bytes, usage.rss_bytes)
        if watch.distinct != count:
            moved_at, count = time.monotonic(), watch.distinct
            seen.spent = Spent.now(usage, feed.servers).since(before)
        stopped = not running.is_running() or time.monotonic() - moved_at > STALL_LIMIT_S
        if count >= len(feed.expected) or (stopped and count):
            return seen
        if stopped:
            end = "\n".join(last_lines(running.log, _LOG_LINES))
            raise StackError(f"the system with consumer group {task.group} wrote no output; the end of its log:\n{end}")
        time.sleep(SAMPLE_S)


def _first_processed(task: Task, watched: Watched) -> float:
    if task.mark.exists():
        return float(task.mark.read_text())
    return watched.started_at if watched.joined_at is None else watched.joined_at


def _verdict(task: Task, feed: Feed) -> Verdict:
    judge = Judge(feed.expected)
    with FinalReader(feed.bootstrap, task.output) as reader:
        reader.visit_to_end(judge.see)
    return judge.verdict()


def figures(
    system: System, feed: Feed, watched: Watched, watch: OutputWatch, first_at: float, verdict: Verdict
) -> Figures:
    """Compute the figures of a finished run from the observations and the verdict on its output."""
    spent, last_at, first_seen_at = watched.spent, watch.last_at, watch.first_at
    assert spent is not None
    assert last_at is not None
    assert first_seen_at is not None
    return Figures(
        system=system.name,
        mode=system.mode,
        threads=system.threads,
        commit_ms=system.commit_ms,
        input=feed.input,
        share=feed.share,
        events=feed.events,
        events_per_s=feed.events / (last_at - first_at),
        startup_s=first_at - watched.started_at,
        run_s=last_at - first_at,
        outputs_s=last_at - first_seen_at,
        total_s=last_at - watched.started_at,
        cpu_s=spent.measured_s,
        rss_mb=watched.rss_bytes / _MIB,
        server_cpu_s=spent.servers_s,
        meter_cpu_s=spent.meter_s,
        foreign_cpu=foreign_share(spent, wall_s=last_at - watched.started_at, cores=os.cpu_count() or 1),
        outputs=verdict.outputs,
        missing=verdict.missing,
        duplicates=verdict.duplicates,
        wrong=verdict.wrong + verdict.unexpected,
    )
