"""Goal: who asks for an order whose partition moves to another worker reads that it moves, never an error.

Method: real workers; the pages of some orders of every partition are asked for all the while, as a browser does, from
the worker that stays, while another one joins, is killed or ends. `tests/agents/test_order_events.py` has the page
itself on every push.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from demo.workers import Worker
from tests.streams.orders.deployments import FedShop
from tests.streams.orders.test_dashboard import browser, picture, shows
from tests.support.background import in_background
from tests.support.browser import Browser
from tests.support.server_waiting import until

__all__ = ["browser"]

ORDERS = 24
SESSION_S = 6
HTML = {"Accept": "text/html"}
VERDICT = re.compile(r'id="verdict"><p class="\w+"><strong>(.*?)</strong>(.*?)</p>')
SHOWN, MOVES = (200, "Complete"), (503, "Moves to another worker")


def asked(worker: Worker, order_id: str) -> tuple[int, str]:
    """The status of an order's page, and the first words on it."""
    answer = requests.get(f"{worker.url}/orders/{order_id}/", headers=HTML, timeout=20)
    found = VERDICT.search(answer.text)
    assert found is not None, answer.text
    return answer.status_code, found[1]


@contextmanager
def asking(worker: Worker, ids: list[str]) -> Iterator[Counter[tuple[int, str]]]:
    """Ask a worker for these orders all the while; counts the answers."""
    found: Counter[tuple[int, str]] = Counter()

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            for id_ in ids:
                found[asked(worker, id_)] += 1

    with in_background(run, "asking"):
        yield found


def all_shown(worker: Worker, ids: list[str]) -> bool:
    return {asked(worker, id_) for id_ in ids} == {SHOWN}


@pytest.mark.nightly
def test_an_order_that_moves_is_said_to_move_while_workers_join_die_and_end(fed: FedShop, browser: Browser) -> None:
    deployment = fed.deployment(SESSION_TIMEOUT_S=str(SESSION_S))
    stays = deployment.worker()
    ids = fed.orders(ORDERS)
    fed.wait_emitted()
    found: dict[str, Counter[tuple[int, str]]] = {}
    with asking(stays, ids) as found["joins"]:
        other = deployment.worker()
        until(lambda: all_shown(stays, ids), "all orders are shown by both workers")
    browser.open(f"{stays.url}/")
    browser.until(shows("#verdict", "2 of 2 workers"))
    stats = other.stats()
    assert stats is not None
    assert stats["partitions"], "the other worker owns orders"
    with asking(stays, ids) as found["is killed"]:
        other.kill()
        [moving] = [id_ for id_ in ids if asked(stays, id_) == MOVES][:1]
        browser.open(f"{stays.url}/orders/{moving}/")
        browser.until(shows("#verdict", "Moves to another worker Its partition is being opened elsewhere"))
        picture(browser, "order-moves")
        assert [
            fault for fault in browser.faults if f"status of 503 (Service Unavailable) {stays.url}" not in fault
        ] == []
        browser.faults.clear()  # the status is meant for programs
        until(lambda: all_shown(stays, ids), "the worker that stays has all orders")
    browser.open(f"{stays.url}/orders/{moving}/")
    browser.until(shows("#verdict", "Published to order_final"))
    other.start()
    other.wait_ready()
    with asking(stays, ids) as found["ends"]:
        assert other.stop()
        until(lambda: all_shown(stays, ids), "again")
    for what, answers in found.items():
        print(f"while a worker {what}: {dict(answers)}")
        assert answers[SHOWN] > 0
        assert answers.keys() <= {SHOWN, MOVES}, what
    assert found["is killed"][MOVES] > 0
