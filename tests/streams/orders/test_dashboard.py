"""Goal: a person who opens the page of any worker sees whether all is right, and if not, what, where and since when.

Method: real workers and a real browser, whose page stays open while things happen; what it shows is compared with the
figures of the workers. A browser that reports an error, for example of its content security policy, fails the test.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
import requests

from config.settings import CacheSettings
from demo.workers import Worker
from stack.job import Job
from tests.streams.orders.deployments import FedShop, stats_of
from tests.support.axe import axe_script, serious_faults
from tests.support.browser import Browser
from tests.support.prometheus import Prometheus
from tests.support.server_waiting import until

SESSION_S: Final = 6
ODD: Final = "<script>document.title='x'</script>&\"' /?"
ODD_IDS: Final = {
    **dict.fromkeys((ODD, "a/b", "a b", "ä€😀", "%2F", "?x=1#y", "x" * 7_000), 404),
    "x" * 10_000: 400,
}
"""Order ids, and the status of their pages; a line of a request that is longer than 8 kB is refused."""

WIDTHS: Final = (375, 1_440)
FOCUSABLE: Final = "a[href], button, input, summary, [tabindex='0']"
PLACE_OF_FOCUS: Final = f'[...document.querySelectorAll("{FOCUSABLE}")].indexOf(document.activeElement)'
RATE_NOW: Final = (
    "[...document.querySelectorAll('dl div')].find(d => d.children[0].innerText === 'Published/s, now')"
    ".children[1].innerText"
)
LOAD_RATE, LOAD_S = 200, 30
PAINTED: Final = "performance.getEntriesByName('first-contentful-paint')[0]"
FIRST_PAINT_LIMIT_MS: Final = 300
LIVE: Final = 5
"""By how much a busy machine may miss a figure that is promised for one of its own."""
FIGURES: Final = {"Changes processed": "records", "Records published": "outputs", "Dead letters": "refused"}


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "browser")
    yield browser
    browser.close()
    assert browser.faults == []


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[[list[Worker]], Prometheus]]:
    """Starts a Prometheus that asks these workers."""
    with contextlib.ExitStack() as stack:

        def start(workers: list[Worker]) -> Prometheus:
            prometheus = Prometheus(tmp_path / "prometheus", [worker.url.removeprefix("http://") for worker in workers])
            stack.callback(prometheus.close)
            return prometheus

        yield start


def shows(selector: str, words: str) -> str:
    """An expression: the element has these words."""
    return f"document.querySelector({selector!r}).innerText.includes({words!r})"


def figure(browser: Browser, name: str) -> int:
    """The figure of this name on the page."""
    [value] = browser.value(
        f"[...document.querySelectorAll('dl div')].filter(d => d.children[0].innerText === {name!r})"
        ".map(d => d.children[1].innerText)"
    )
    return int(value.replace(",", ""))


def total(workers: list[Worker], name: str) -> int:
    return sum(int(stats_of(worker).get(name, 0)) for worker in workers)


def picture(browser: Browser, name: str) -> None:
    """Keep a picture, if somebody wants to look at it."""
    if folder := os.environ.get("PICTURES"):
        browser.screenshot(Path(folder) / f"{name}.png")


def test_the_page_shows_the_figures_of_all_workers_and_stays_current(fed: FedShop, browser: Browser) -> None:
    deployment = fed.deployment()
    workers = [deployment.worker(), deployment.worker()]
    fed.orders(40)
    fed.wait_emitted()
    waiting = fed.order(num_products=3, lines=2)
    browser.resize(1_440)
    browser.open(f"{workers[1].url}/")
    browser.until(shows("#verdict", "Right"))
    browser.until(PAINTED)
    print(f"first paint after {browser.value(f'{PAINTED}.startTime'):.0f} ms")
    assert browser.value(f"{PAINTED}.startTime") < LIVE * FIRST_PAINT_LIMIT_MS
    browser.until(shows("#verdict", "2 of 2 workers. 1 order waits to be complete. No dead letters"))
    for name, count in FIGURES.items():
        until(lambda n=name, c=count: figure(browser, n) == total(workers, c), name)  # type: ignore[misc]
    fed.orders(20)
    fed.wait_emitted()
    until(lambda: figure(browser, "Records published") == 60, "the open page follows")
    assert browser.text("#workers").count("ready") == 2
    browser.until("document.querySelectorAll('polyline').length === 2", 40)
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            browser.resize(width, scheme=scheme, motion="reduce" if scheme == "dark" else "no-preference")
            assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
            assert browser.value("document.getAnimations().length") == 0
            picture(browser, f"right-{width}-{scheme}")
    browser.value("document.querySelector('#waiting a').click()")
    browser.until(shows("h1", waiting))
    assert "Products still missing: 1." in browser.text("#verdict")
    assert "guard: acquired" not in browser.text("main"), "the order was not complete, so nobody asked for its lock"
    assert browser.text("main").count("folded") == 3
    picture(browser, "order")
    browser.open(f"{workers[0].url}/orders/{fed.complete[0]}/")
    browser.until(shows("#verdict", "Published to order_final"))
    assert re.search(r"guard: acquired[\s\S]*published\s+order_final/\d+/\d+", browser.text("main"))


def test_the_keyboard_alone_reaches_everything(fed: FedShop, browser: Browser) -> None:
    worker = fed.deployment().worker()
    waiting = fed.order(num_products=3, lines=2)
    browser.resize(WIDTHS[0])
    browser.open(f"{worker.url}/")
    browser.until("document.querySelector('#waiting a') !== null && document.querySelector('summary') !== null", 60)
    reached = set()
    for _ in range(browser.value(f"document.querySelectorAll({FOCUSABLE!r}).length") + 2):
        browser.press("Tab")
        reached.add(browser.value(PLACE_OF_FOCUS))
        assert browser.value(
            "document.activeElement.matches(':focus-visible') || document.activeElement.tagName === 'BODY'"
        )
    assert browser.value(f"[...document.querySelectorAll({FOCUSABLE!r})].length") == len(reached - {-1})
    browser.value("document.querySelector('summary').focus()")
    browser.press("Enter")
    browser.until("document.querySelector('details').open")
    browser.value("document.querySelector('input').focus()")
    for character in waiting:
        browser.press(character)
    browser.press("Enter")
    browser.until(shows("h1", waiting))


@pytest.mark.nightly  # `tests/unit/dashboard/test_html.py` checks names and headings on every push
def test_a_checker_of_accessibility_finds_nothing_serious(fed: FedShop, browser: Browser) -> None:
    script = axe_script(CacheSettings.read().expanded(), Job(print, threading.Event()))
    deployment = fed.deployment()
    workers = [deployment.worker(), deployment.worker()]
    waiting = fed.order(num_products=3, lines=2)
    fed.write_raw("orders", "x", b"no change")
    fed.wait_emitted()
    for path, ready in (("/", "document.querySelectorAll('polyline').length > 1"), (f"/orders/{waiting}/", "true")):
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                browser.resize(width, scheme=scheme)
                browser.open(f"{workers[0].url}{path}")
                browser.until(ready, 60)
                picture(browser, f"axe-{'page' if path == '/' else 'order'}-{width}-{scheme}")
                assert serious_faults(browser, script) == [], (path, width, scheme)


@pytest.mark.nightly  # `test_the_page_shows_the_figures_of_all_workers_and_stays_current` compares them at rest
def test_the_page_shows_true_figures_under_load(fed: FedShop, browser: Browser) -> None:
    deployment = fed.deployment()
    workers = [deployment.worker(), deployment.worker()]
    browser.open(f"{workers[0].url}/")
    browser.until(shows("#verdict", "2 of 2 workers"))
    began = time.monotonic()
    rates = []
    for second in range(1, LOAD_S + 1):
        fed.orders(LOAD_RATE)
        if second % 5 == 0:
            floor, shown, ceiling = [], [], []
            for name, count in FIGURES.items():
                floor.append(figure(browser, name))
                shown.append(total(workers, count))
                until(lambda n=name, least=shown[-1]: figure(browser, n) >= least, name)  # type: ignore[misc]
                ceiling.append(total(workers, count))
            assert floor <= shown <= ceiling
            rates.append(browser.value(RATE_NOW))
        time.sleep(max(0.0, began + second - time.monotonic()))
    seconds = time.monotonic() - began
    fed.wait_emitted()
    picture(browser, "under-load")
    until(lambda: figure(browser, "Records published") == len(fed.complete), "the oracle's number of orders")
    assert figure(browser, "Changes processed") == total(workers, "records") == 2 * len(fed.complete)
    fastest = max(float(rate.replace(",", "")) for rate in rates)
    print(f"{len(fed.complete) / seconds:.0f} orders/s, at most {fastest:.0f} on the page")
    assert LOAD_RATE / LIVE <= fastest <= LOAD_RATE * LIVE, "orders of magnitude: the machine may be busy"


def test_an_odd_order_id_is_shown_as_text(fed: FedShop, browser: Browser) -> None:
    worker = fed.deployment().worker()
    fed.write("order_details", ODD, {"order_id": ODD, "product_id": 1, "quantity": 1})
    browser.open(f"{worker.url}/")
    browser.until("document.querySelector('#waiting a') !== null")
    assert browser.text("#waiting a") == ODD
    browser.value("document.querySelector('#waiting a').click()")
    browser.until("document.querySelector('h1').innerText.startsWith('Order ')")
    assert browser.text("h1") == f"Order {ODD}"
    assert "only product lines have arrived" in browser.text("#verdict")
    assert browser.value("document.title") == f"Order {ODD}"


def test_the_page_and_the_alerts_say_what_is_wrong_and_when_it_is_right_again(
    fed: FedShop, browser: Browser, watch: Callable[[list[Worker]], Prometheus]
) -> None:
    deployment = fed.deployment(SESSION_TIMEOUT_S=str(SESSION_S))
    workers = [deployment.worker(), deployment.worker()]
    browser.resize(1_440)
    browser.open(f"{workers[0].url}/")
    browser.until(shows("#verdict", "2 of 2 workers"))
    prometheus = watch(workers)
    workers[1].kill()
    browser.until(shows("#verdict", "A worker does not answer since"))
    picture(browser, "killed")
    browser.until(shows("#verdict", "1 of 1 worker."), SESSION_S + 30)
    assert "left the group; last answer" in browser.text("#workers")
    fed.stack.pause("redis")
    fed.order(num_products=1)
    browser.until(shows("#verdict", "A server that a worker needs does not answer since"), 60)
    assert "Redis (guard) for" in browser.text("#faults")
    picture(browser, "redis")
    until(lambda: "ServerAway" in prometheus.firing(), "the alert fires")
    fed.stack.resume("redis")
    browser.until(shows("#verdict", "Every change that Kafka had at"), 60)
    until(lambda: prometheus.firing() == {"WorkerDown"}, "of the two, only the worker is still away")
    assert prometheus.faults() == []
    workers[1].start()
    browser.until(shows("#verdict", "2 of 2 workers"), 60)
    until(lambda: prometheus.firing() == set(), "all is right again")


def test_the_pages_for_people_load_nothing_from_elsewhere(fed: FedShop) -> None:
    worker = fed.deployment().worker()
    answers = [
        requests.get(f"{worker.url}{path}", headers={"Accept": "text/html"}, timeout=10) for path in ("/", "/orders/1/")
    ]
    assert [answer.status_code for answer in answers] == [200, 404]
    for answer in answers:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "<script>" not in answer.text
    files = [requests.get(f"{worker.url}/assets/{name}", timeout=10) for name in ("page.css", "page.js")]
    assert sum(len(answer.content) for answer in (*answers, *files)) < 60_000
    assert requests.get(f"{worker.url}/assets/history.py", timeout=10).status_code == 404
    for order_id, status in ODD_IDS.items():
        url = f"{worker.url}/orders/{quote(order_id, safe='')}/"
        answer = requests.get(url, headers={"Accept": "text/html"}, timeout=10)
        assert answer.status_code == status, (order_id[:20], answer.text[:200])
        if status == 404:
            assert f"<h1>Order {escape(order_id)}</h1>" in answer.text
        assert "<script>" not in answer.text
    assert requests.get(f"{worker.url}/orders//", headers={"Accept": "text/html"}, timeout=10).status_code == 404
