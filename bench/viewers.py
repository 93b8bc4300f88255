"""Benchmark of the page `/`: what its viewers cost a worker, measured in one run with and without them.

A worker processes orders at an even pace, and viewers come and go in turns of equal length. The page costs processor
time of the worker's only thread; the share of a core that it takes is the share of throughput that it would cost a
worker at its limit. Turns alternate, so that a machine that gets slower or faster disturbs both kinds alike.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import requests

from bench.machine import tree_usage
from bench.partitions import APP_ID, Feed
from bench.testbed import Say, StackTestbed
from demo.workers import Worker
from stack.errors import StackError

PARTITIONS: Final = 4
SERVERS: Final = ("kafka", "redis")
READY_S: Final = 60.0
SETTLE_S: Final = 15.0
"""Time in which the first orders are processed, before anything is measured."""

COMING_S: Final = 1.0
"""Time for which a turn waits until its viewers have the page."""

ANSWER_S: Final = 10.0


def measured(viewers: int, *, turns: int, seconds: int, say: Say) -> dict[str, Any]:
    """Return the worker's share of a core with and without viewers, in per cent, and the difference.

    Args:
        turns: number of turns of each kind.
        seconds: length of a turn.
    """
    with StackTestbed.opened(SERVERS, partitions=PARTITIONS) as testbed:
        testbed.apply_topics(APP_ID)
        worker = testbed.worker("watched", ORDERS_APP_ID=APP_ID)
        worker.start()
        try:
            worker.wait_ready(READY_S)
            with Feed(testbed):
                time.sleep(SETTLE_S)
                shares = _shares(worker, viewers, turns, seconds, say)
        finally:
            worker.stop()
    alone, watched = (statistics.mean(shares[number]) for number in (0, viewers))
    say(f"{viewers} viewers cost {watched - alone:.2f} % of a core: {alone:.2f} % without, {watched:.2f} % with them")
    return {
        "viewers": viewers,
        "turns": turns,
        "seconds": seconds,
        "without_percent": [round(share, 2) for share in shares[0]],
        "with_percent": [round(share, 2) for share in shares[viewers]],
        "cost_percent": round(watched - alone, 2),
    }


def _shares(worker: Worker, viewers: int, turns: int, seconds: int, say: Say) -> dict[int, list[float]]:
    shares: dict[int, list[float]] = {0: [], viewers: []}
    for turn in range(2 * turns):
        number = viewers if turn % 2 else 0
        with _watching(worker, number):
            time.sleep(COMING_S)
            before, began = tree_usage(worker.process.pid).cpu_s, time.monotonic()
            time.sleep(seconds)
            spent = tree_usage(worker.process.pid).cpu_s - before
            shares[number].append(100 * spent / (time.monotonic() - began))
        say(f"{number} viewers: {shares[number][-1]:.2f} % of a core")
    return shares


@contextmanager
def _watching(worker: Worker, number: int) -> Iterator[None]:
    """Let viewers read the events of the page; afterwards, each must have got some."""
    over, counts = threading.Event(), [0] * number

    def look(place: int) -> None:
        with requests.get(f"{worker.url}/events", stream=True, timeout=ANSWER_S) as response:
            for line in response.iter_lines():
                counts[place] += line.startswith(b"data: ")
                if over.is_set():
                    return

    threads = [threading.Thread(target=look, args=(place,), daemon=True) for place in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(ANSWER_S)
    if not all(count > 1 for count in counts):
        raise StackError(f"not all viewers saw the page: they got {counts} events")
