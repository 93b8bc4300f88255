"""Goal: the page shows the connector as Connect has it, and what was sold as `streams.metrics` counts it.

Method: a real connector and both applications; a browser whose page stays open while Connect is paused. Each section
has tests of its own on every push, in `tests/unit/dashboard`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
import requests

from demo.workers import Worker
from stack.local import Stack
from stack.ports import free_ports
from tests.streams.orders.conftest import NewWorker
from tests.streams.orders.deployments import stats_of
from tests.streams.orders.live_shop import Shop, new_id
from tests.streams.orders.test_dashboard import browser, picture, shows
from tests.support.browser import Browser
from tests.support.server_waiting import until

__all__ = ["browser"]

ORDERS: Final = 12
FULL_MINUTE_S: Final = 120.0
ALERT_S: Final = 120.0
LATE_S: Final = 480.0
"""Limit for the alert about late orders on a busy machine: it looks back five minutes."""


@pytest.fixture
def figures(pipeline: Stack, tmp_path: Path) -> Iterator[Worker]:
    """A worker that counts what is sold."""
    [port] = free_ports(["figures"]).values()
    worker = Worker(
        web_port=port, environment=pipeline.environment(), folder=tmp_path / "figures", application="streams.metrics"
    )
    worker.start()
    worker.wait_ready()
    yield worker
    worker.stop()


def sell(shop: Shop, number: int) -> None:
    """Place orders of one product now."""
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    row = "INSERT INTO orders VALUES (%s, 1, 1, 1, 1, %s)"
    line = "INSERT INTO order_details (order_id, product_id, quantity) VALUES (%s, 1, 2)"
    for id_ in [new_id() for _ in range(number)]:
        shop.transaction((row, (id_, now)), (line, (id_,)))


def has_no_lag(worker: Worker) -> bool:
    return not any(source["lag"] for source in stats_of(worker)["sources"].values())


def sold(worker: Worker) -> int:
    """The orders of the last hour, as the worker says."""
    figures = requests.get(f"{worker.url}/snapshot", timeout=10).json().get("sales", {})
    return sum(figures.get("orders", ()))


@pytest.mark.nightly
def test_the_connector_and_what_was_sold_are_shown_and_connect_that_goes_changes_the_verdict(
    pipeline: Stack, shop: Shop, new_worker: NewWorker, figures: Worker, browser: Browser, tmp_path: Path
) -> None:
    worker = new_worker(tmp_path / "orders")
    worker.start()
    worker.wait_ready()
    until(lambda: has_no_lag(worker), "the snapshot is published")
    assert worker.stop()
    worker.start()  # it does not remember any more that the orders of the snapshot were late
    worker.wait_ready()
    before = sold(worker)
    browser.resize(1_440)
    browser.open(f"{worker.url}/")
    browser.until(shows("#connector", "Task 0\trunning"))
    browser.until(shows("#connector", "Initial snapshot\tended"))
    sell(shop, ORDERS)
    browser.until(shows("#connector", "ms behind the source"))
    until(lambda: sold(worker) >= before + ORDERS, "the orders are in full minutes", FULL_MINUTE_S)
    assert sold(worker) == before + ORDERS
    browser.until(shows("#sales", "Orders per minute"))
    browser.until(shows("#verdict", "Right"), LATE_S)
    for scheme in ("light", "dark"):
        browser.resize(1_440, scheme=scheme)
        picture(browser, f"source-{scheme}")
    pipeline.pause("connect")
    try:
        browser.until(shows("#connector", "does not answer"))
        browser.until(shows("#verdict", "The connector or one of its tasks does not run"), ALERT_S)
        assert "millrace connector status" in browser.text("#faults")
        picture(browser, "connect-away")
    finally:
        pipeline.resume("connect")
    browser.until(shows("#verdict", "Right"), LATE_S)
    browser.until("!document.querySelector('#alerts').innerText.includes('not yet')")
    assert "The connector or one of its tasks does not run" in browser.text("#alerts")
