"""Goal: what the page says was sold is what SQL says over the source: by minute, country, segment and product class.

Method: the dataset `shop` on real servers; orders of the last 50 minutes are written into PostgreSQL and some changed,
`streams.metrics` counts them, a run of the lake publishes its results, and a browser shows the page of the worker. The
unit tests of the section are in `tests/unit/dashboard/test_sales_section.py`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from config.database_settings import PostgresSettings
from config.dataset import load_definition
from config.engines.base import Connection
from config.settings import ArchiveSettings, KafkaSettings, ObjectStoreSettings
from demo.archived import ArchiveCount, captured
from demo.workers import Worker
from ops.cli import main
from ops.database import connected
from stack.local import Stack
from stack.ports import free_ports
from stack.site import REPOSITORY
from streams.topics import Direction, catalogue_of
from tests.streams.orders.test_dashboard import browser, picture, shows
from tests.support.browser import Browser
from tests.support.server_waiting import until
from tests.support.stacks import stack_with_postgres

__all__ = ["browser"]

SHOP: Final = load_definition("shop")
ORDERS: Final = 150
CHANGED: Final = 20
MINUTES: Final = 50
FULL_MINUTE_S: Final = 150.0
RUN_S: Final = 300.0
RESULTS: Final = {"segment_totals", "product_performance"}
"""Results that the page shows; it leaves out the others of the shop, which have more groups than it has rows for."""

AS_OF: Final = "What was sold, as of "
PAGE: Final = """(rows => ({
    tables: [...document.querySelectorAll('#sales h2')].map(h => [h.innerText, rows(h.nextElementSibling, 'tbody tr')]),
    charts: [...document.querySelectorAll('#sales .chart')].map(c =>
        [c.querySelector('h3').innerText, c.querySelector('p').innerText, rows(c, 'tr')])
}))((e, which) => [...(e?.querySelectorAll(which) ?? [])].map(r => [...r.children].map(c => c.textContent)))"""
"""Everything that the section has, of one moment: its titles, and the cells of its tables."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """Servers with a shop of some customers and products, and its connector."""
    with stack_with_postgres(tmp_path / "stack", ["kafka", "connect", "postgres", "redis", "minio"]) as stack:
        for name, value in {**stack.environment(), "DATASET": "shop", "ARCHIVE_FLUSH_S": "1"}.items():
            monkeypatch.setenv(name, value)
        assert main(["dataset", "init"]) == 0
        assert main(["dataset", "generate", "--size", "0.01", "--customers", "200"]) == 0
        assert main(["topics", "apply"]) == 0
        assert main(["connector", "apply", "--wait-snapshot"]) == 0
        yield stack


def started(stack: Stack, application: str, folder: Path) -> Worker:
    """A worker that has processed the snapshot."""
    [port] = free_ports(["worker"]).values()
    environment = {**stack.environment(), "DATASET": "shop", "ARCHIVE_FLUSH_S": "1"}
    worker = Worker(web_port=port, environment=environment, folder=folder / application, application=application)
    worker.start()
    worker.wait_ready()
    until(lambda: not any(source["lag"] for source in (worker.stats() or {})["sources"].values()), "no lag")
    return worker


def sell(connection: Connection, now: datetime) -> None:
    """Place orders at times of the last minutes, one after the other, and change what some cost."""
    draw = random.Random(11)  # noqa: S311 - a test
    print("seed 11")
    prices = dict(connection.rows("SELECT id, price FROM products"))
    customers = [key for (key,) in connection.rows("SELECT id FROM customers")]
    ids = []
    with connection.cursor() as cursor:
        for number in range(ORDERS):
            ids.append(str(uuid.UUID(int=draw.getrandbits(128))))
            chosen = [(product, draw.randint(1, 4)) for product in draw.sample(sorted(prices), draw.randint(1, 3))]
            total = sum((prices[product] * quantity for product, quantity in chosen), Decimal())
            placed = now - timedelta(minutes=MINUTES * (1 - number / ORDERS))
            cursor.execute(
                "INSERT INTO orders (id, customer_id, status, total, created_at) VALUES (%s, %s, 'new', %s, %s)",
                (ids[-1], draw.choice(customers), total, placed),
            )
            for product, quantity in chosen:
                line = "INSERT INTO order_items (order_id, product_id, quantity, unit_price) VALUES (%s, %s, %s, %s)"
                cursor.execute(line, (ids[-1], product, quantity, prices[product]))
            connection.commit()
        for id_ in draw.sample(ids, CHANGED):
            cursor.execute("UPDATE orders SET total = total + 1.25, status = 'paid' WHERE id = %s", (id_,))
            connection.commit()


def run_lake() -> None:
    """Bring the lake up to date in a process of its own, as Spark's stays."""
    found = subprocess.run(
        [sys.executable, "-m", "batch", "run"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=RUN_S,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def await_archive() -> None:
    """Wait until every change is in the archive."""
    kafka = KafkaSettings.read(os.environ)
    settings = ArchiveSettings.read(os.environ)
    specs = catalogue_of(SHOP, app_id="millrace-orders", order_partitions=kafka.order_partitions)
    topics = [spec for spec in specs if spec.direction is Direction.IN]
    archived = ArchiveCount(ObjectStoreSettings.read(os.environ), settings, topics)
    until(lambda: archived.records() == captured(kafka.bootstrap, topics), "every change is archived", RUN_S)


# -- what SQL says over the source ------------------------------------------------------------------------------------


def by_minute(connection: Connection, as_of: datetime) -> list[tuple[int, float]]:
    """Number and revenue of the orders of each of the 60 full minutes before a time of today, oldest first."""
    newest = datetime.combine(datetime.now(UTC), as_of.timetz()).replace(second=0) - timedelta(minutes=1)
    rows = connection.rows(
        "SELECT date_trunc('minute', created_at), count(*), sum(total) FROM orders "
        "WHERE created_at >= now() - interval '2 hours' GROUP BY 1"
    )
    found = {minute: (count, float(total)) for minute, count, total in rows}
    return [found.get(newest - timedelta(minutes=back), (0, 0.0)) for back in range(59, -1, -1)]


BY_COUNTRY: Final = """SELECT country, count(*) FROM orders JOIN customers ON customers.id = customer_id
WHERE orders.created_at >= now() - interval '2 hours' GROUP BY 1"""

BY_SEGMENT: Final = """SELECT CASE WHEN revenue >= {gold} THEN 'Gold' WHEN revenue >= {silver} THEN 'Silver'
ELSE 'Bronze' END, count(*), sum(revenue) FROM (SELECT customers.id, coalesce(sum(total), 0) AS revenue FROM customers
LEFT JOIN orders ON customer_id = customers.id AND status NOT IN ('cancelled', 'returned') GROUP BY 1) AS bought
GROUP BY 1 ORDER BY 1"""

BY_CLASS: Final = """SELECT CASE WHEN revenue >= {top} THEN 'top' WHEN revenue >= {steady} THEN 'steady'
ELSE 'slow' END,
count(*), sum(pieces), sum(revenue) FROM (SELECT products.id, coalesce(sum(quantity), 0) AS pieces,
coalesce(sum(quantity * unit_price), 0) AS revenue FROM products LEFT JOIN (SELECT order_items.* FROM order_items
JOIN orders ON orders.id = order_id WHERE status NOT IN ('cancelled', 'returned')) AS sold ON product_id = products.id
GROUP BY 1) AS products GROUP BY 1 ORDER BY 1"""


def answered(connection: Connection, query: str, **names: str) -> list[tuple[Any, ...]]:
    limits = {parameter.name: parameter.value for parameter in SHOP.parameters}
    return connection.rows(query.format(**{name: limits[value] for name, value in names.items()}))


def numbers(rows: Sequence[Sequence[Any]]) -> dict[str, list[Decimal]]:
    """The numbers of each row, keyed by its first cell."""
    return {str(row[0]): [Decimal(str(cell).replace(",", "")) for cell in row[1:]] for row in rows}


@pytest.mark.nightly
def test_what_was_sold_is_what_sql_says_over_the_source(shop: Stack, browser: Browser, tmp_path: Path) -> None:
    workers = [started(shop, f"streams.{name}", tmp_path) for name in ("metrics", "archive")]
    page = workers[0]
    with connected(PostgresSettings.read(os.environ), SHOP.database, SHOP.schema) as connection:
        sell(connection, datetime.now(UTC))
        await_archive()
        run_lake()

        def sales() -> dict[str, Any]:
            found: dict[str, Any] = requests.get(f"{page.url}/snapshot", timeout=10).json().get("sales", {})
            return found

        until(lambda: sum(sales().get("orders", ())) == ORDERS, "all orders are in full minutes", FULL_MINUTE_S)
        until(lambda: {result["name"] for result in sales()["results"]} >= RESULTS, "the results of the lake")
        browser.resize(1_440)
        browser.open(f"{page.url}/")
        browser.until(shows("#sales", "Revenue per minute"))
        picture(browser, "sales")
        read = browser.value(PAGE)
        charts = {title: (label, rows) for title, label, rows in read["charts"]}
        tables = {title.partition(",")[0]: rows for title, rows in read["tables"]}
        [as_of] = [title.removeprefix(AS_OF) for title, _ in read["tables"] if title.startswith(AS_OF)]
        series = by_minute(connection, datetime.strptime(as_of, "%H:%M:%S UTC").replace(tzinfo=UTC))
        for place, title in enumerate(("Orders per minute", "Revenue per minute")):
            values = [minute[place] for minute in series]
            label, rows = charts[title]
            assert rows == shown(values), title
            assert label == f"now {values[-1]:g} /min, highest in 1 h {max(values):g} /min"
        countries = {country: [Decimal(count)] for country, count in answered(connection, BY_COUNTRY)}
        most = numbers(tables["Orders by country"])
        assert most == {country: countries[country] for country in most}
        assert sorted(most.values()) == sorted(countries.values())[-8:]
        segments = answered(connection, BY_SEGMENT, gold="gold_from", silver="silver_from")
        assert numbers(tables["Segment totals"]) == numbers(segments)
        classes = answered(connection, BY_CLASS, top="top_from", steady="steady_from")
        assert numbers(tables["Product performance"]) == numbers(classes)
    for worker in workers:
        worker.stop()


def shown(values: Sequence[float]) -> list[list[str]]:
    """The table of a chart: every fourth minute, the newest first."""
    return [[f"−{back} min", f"{value:g} /min"] for back, value in enumerate(reversed(values)) if back % 4 == 0]
