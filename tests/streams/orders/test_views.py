"""Goal: what a worker says of its orders and of itself is true: incomplete orders, forgotten ones, figures, metrics.

Method: a real worker on topics that the test writes in transactions, so that markers follow the last record; metrics
are read with Prometheus' own parser. Times are the source's, some seconds long. Limits are for liveness only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from demo.workers import Worker
from streams.model.order import is_forgotten
from streams.topics import ORDER_INCOMPLETE, change_topic, order_state_changelog
from tables.order_state import CODEC
from tests.streams.orders.deployments import Deployment, FedShop, incomplete_of, metric, metrics_of, stats_of
from tests.streams.orders.live_shop import new_id
from tests.streams.orders.test_workers import share
from tests.support.background import in_background
from tests.support.builders import created, deleted, detail_row, order_row
from tests.support.kafka import read_topics
from tests.support.server_waiting import until

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
AWAY_S = 6.0
NO_LABELS: frozenset[tuple[str, str]] = frozenset()
PAGES = ("/stats/", "/metrics", "/orders/incomplete?limit=200")


def line_only(fed: FedShop) -> str:
    """Write a product line of an order whose row never comes."""
    id_ = new_id()
    fed.write("order_details", id_, detail_row(id_, 1))
    return id_


# -- incomplete orders ------------------------------------------------------------------------------------------------


def test_incomplete_orders_are_counted_and_listed_with_the_reason_and_the_age(fed: FedShop) -> None:
    worker = fed.deployment().worker()
    assert incomplete_of(worker) == {
        "count": 0,
        "by_reason": {"no_order_row": 0, "products_missing": 0, "held_by_another_deployment": 0},
        "oldest_age_s": 0.0,
        "partitions": [0, 1, 2, 3],
        "orders": [],
    }
    began = time.monotonic()
    first, second = fed.order(num_products=3, lines=2), line_only(fed)
    expected = [(first, "products_missing", 3, 2), (second, "no_order_row", None, 1)]
    names = ("order_id", "reason", "num_products", "products_present")
    until(
        lambda: [tuple(o[name] for name in names) for o in incomplete_of(worker)["orders"]] == expected,
        "both are listed, the older one first",
    )
    found = incomplete_of(worker)
    assert found["count"] == 2
    assert found["by_reason"] == {"no_order_row": 1, "products_missing": 1, "held_by_another_deployment": 0}
    assert 0 <= found["oldest_age_s"] <= time.monotonic() - began + 1
    one, two = found["orders"]
    assert not one["reported"]
    assert one["first_seen_at"] <= two["first_seen_at"]
    assert min(one["age_s"], two["age_s"]) >= 0, "each partition has a time of its own"
    assert stats_of(worker)["incomplete"] == found["by_reason"]
    fed.write("order_details", first, detail_row(first, 3))
    fed.complete.append(first)
    fed.wait_emitted()
    until(lambda: incomplete_of(worker)["count"] == 1, "one is left")
    fed.write("order_details", second, detail_row(second, 1), op=deleted)
    until(lambda: incomplete_of(worker)["count"] == 0, "nothing is expected of an order without row and lines")


def test_the_list_is_as_long_as_it_was_asked_to_be_and_its_count_is_whole(fed: FedShop) -> None:
    worker = fed.deployment().worker()
    ids = [fed.order(num_products=2) for _ in range(12)]
    until(lambda: incomplete_of(worker)["count"] == 12, "all are incomplete")
    for limit, expected in ((0, 0), (5, 5), (12, 12), (1_000_000, 12), (-3, 0)):
        found = incomplete_of(worker, limit)
        assert (found["count"], len(found["orders"])) == (12, expected)
    listed = [order["order_id"] for order in incomplete_of(worker, 5)["orders"]]
    assert listed == ids[:5], "the oldest first"
    for wrong in ("many", "", "1.5"):
        assert requests.get(f"{worker.url}/orders/incomplete?limit={wrong}", timeout=10).status_code == 400


def test_each_order_incomplete_for_too_long_is_reported_once(fed: FedShop) -> None:
    deployment = fed.deployment(INCOMPLETE_AFTER_S="2")
    worker = deployment.worker()
    first, second = fed.order(num_products=3, lines=2), line_only(fed)
    [event] = fed.tail.wait(ORDER_INCOMPLETE, first)
    expected = {"order_id": first, "reason": "products_missing", "num_products": 3, "products_present": 2}
    assert event.value.items() >= expected.items()
    assert fed.tail.wait(ORDER_INCOMPLETE, second)[0].value["reason"] == "no_order_row"
    assert {order["reported"] for order in incomplete_of(worker)["orders"]} == {True}
    assert stats_of(worker)["orders"]["overdue"] == 2
    assert metric(worker, "millrace_orders_total", event="overdue") == 2
    assert metric(worker, "millrace_orders_incomplete", reason="products_missing") == 1
    assert metric(worker, "millrace_orders_incomplete_oldest_seconds", reason="products_missing") >= 2
    worker.kill()
    worker.start()
    worker.wait_ready()
    third = fed.order(num_products=2)
    fed.tail.wait(ORDER_INCOMPLETE, third)
    fed.write("order_details", first, detail_row(first, 3))
    fed.complete.append(first)
    fed.wait_emitted()
    assert [len(fed.tail.of(ORDER_INCOMPLETE, id_)) for id_ in (first, second, third)] == [1, 1, 1]
    assert metric(worker, "millrace_orders_incomplete", reason="products_missing") == 1


# -- retention --------------------------------------------------------------------------------------------------------


def are_forgotten(worker: Worker, order_ids: list[str]) -> bool:
    views = [requests.get(f"{worker.url}/orders/{id_}/", timeout=10).json() for id_ in order_ids]
    return all(view.get("status") == "forgotten" for view in views)


def replay_everything(fed: FedShop, deployment: Deployment) -> None:
    """Have the stopped group begin at the earliest offsets again."""
    [worker] = deployment.workers
    deployment.stop()
    fed.delete_group(deployment.app_id)
    worker.start()
    worker.wait_ready()


def test_a_forgotten_order_is_never_published_again_even_without_its_lock(fed: FedShop) -> None:
    deployment = fed.deployment(ORDER_RETENTION_S="2")
    worker = deployment.worker()
    waiting = fed.order(num_products=2)
    ids = fed.orders(50)
    fed.wait_emitted()
    until(lambda: are_forgotten(worker, ids), "finished orders are forgotten")
    assert not are_forgotten(worker, [waiting]), "an incomplete one never is"
    records = read_topics(fed.bootstrap, order_state_changelog(deployment.app_id))
    newest = {record.key: record.value for record in records}
    assert {is_forgotten(CODEC.decode(newest[id_.encode()] or b"")) for id_ in ids} == {True}
    with fed.redis() as client:
        client.flushdb()
    replay_everything(fed, deployment)
    until(lambda: stats_of(worker).get("after_retention", 0) >= 100, "every change of them is counted")
    assert set(fed.emitted().values()) == {1}
    assert stats_of(worker)["incomplete"]["products_missing"] == 1, "only the order that has always been waiting"


# -- figures ----------------------------------------------------------------------------------------------------------


def lag(worker: Worker) -> dict[tuple[str, str], float]:
    """Lag by topic and partition."""
    found = {}
    for (name, labels), value in metrics_of(worker).items():
        if name == "millrace_lag_records":
            places = dict(labels)
            found[places["topic"], places["partition"]] = value
    return found


def differences(worker: Worker) -> list[str]:
    """Totals for which the page of figures and the metrics do not say the same."""
    figures, seen = stats_of(worker), metrics_of(worker)
    parts = [part for part in ("orders", "guard", "cache", "payment_methods") if part in figures]
    expected: dict[tuple[str, frozenset[tuple[str, str]]], float] = {
        (f"millrace_{part}_total", frozenset({("event", event)})): count
        for part in parts
        for event, count in figures[part].items()
    }
    for fate in ("folded", "unchanged", "left", "tombstones", "malformed", "rejected", "failed"):
        expected["millrace_records_total", frozenset({("fate", fate)})] = figures.get(fate, 0)
    for name in ("opened", "fenced", "reopened_after_error", "restored_records", "outputs"):
        expected[f"millrace_{name}_total", NO_LABELS] = figures.get(name, 0)
    return [f"{name} {set(labels)}" for (name, labels), count in expected.items() if seen.get((name, labels)) != count]


def test_the_metrics_say_what_the_figures_say(fed: FedShop) -> None:
    worker = fed.deployment().worker()
    ids = fed.orders(40)
    fed.wait_emitted()
    fed.write("orders", ids[0], order_row(ids[0], num_products=1, customer_id=12))
    older, refused = created(order_row(ids[1], num_products=1)), new_id()
    fed.write_raw("orders", ids[1], b"{", None, older)
    fed.write("orders", refused, order_row(refused, num_products=0))
    fed.replay(ids[2])
    fed.order(num_products=2)
    until(lambda: stats_of(worker)["records"] == 89, "everything is processed")
    until(lambda: stats_of(worker)["guard"]["marks"] == 40, "all are marked")
    until(lambda: differences(worker) == [], "the page and the metrics agree")
    figures, seen = stats_of(worker), metrics_of(worker)
    fates = {"folded": 85, "unchanged": 1, "tombstones": 1, "malformed": 1, "rejected": 1}
    assert {name: figures[name] for name in fates} == fates
    assert figures["orders"]["completed"] == 40
    assert figures["orders"]["amended"] == 1
    assert seen["millrace_dead_letters_total", NO_LABELS] == figures["refused"] == 2
    assert seen["millrace_turn_seconds_count", NO_LABELS] == figures["turns"]
    assert seen["millrace_turn_records_sum", NO_LABELS] == 89
    assert seen["millrace_visible_seconds_count", NO_LABELS] == 41
    running = {
        dict(labels)["partition"]: v for (name, labels), v in seen.items() if name == "millrace_partition_running"
    }
    assert running == {f"order_state/{number}": 1 for number in range(4)}


def test_an_idle_worker_has_no_lag_although_transaction_markers_follow_the_last_record(fed: FedShop) -> None:
    deployment = fed.deployment()
    worker = deployment.worker()
    fed.orders(40)
    fed.wait_emitted()
    until(lambda: set(lag(worker).values()) == {0}, "nothing is left to do")
    assert lag(worker).keys() == {
        (change_topic(fed.dataset, table), str(number)) for table in ("orders", "order_details") for number in range(4)
    }
    worker.pause()
    fed.orders(40)
    worker.resume()
    fed.wait_emitted()
    until(lambda: set(lag(worker).values()) == {0}, "nothing is left to do")
    assert worker.stop()
    fed.orders(40)
    worker.start()
    worker.wait_ready()
    fed.wait_emitted()
    until(lambda: set(lag(worker).values()) == {0}, "after a restart neither")


def test_the_pages_have_the_types_that_programs_expect_and_take_no_other_method(fed: FedShop) -> None:
    worker = fed.deployment().worker()
    answer = requests.get(f"{worker.url}/metrics", timeout=10)
    assert answer.headers["Content-Type"] == CONTENT_TYPE
    assert list(text_string_to_metric_families(answer.text))
    for path in ("/stats/", "/orders/incomplete", f"/orders/{new_id()}/"):
        assert requests.get(f"{worker.url}{path}", timeout=10).headers["Content-Type"].startswith("application/json")
    for path in PAGES:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert requests.request(method, f"{worker.url}{path}", timeout=10).status_code == 405, (method, path)
        assert requests.head(f"{worker.url}{path}", timeout=10).status_code in (200, 405)
    for path in ("/nothing", "/metrics/x", "/orders/", "/stats/x"):
        assert requests.get(f"{worker.url}{path}", timeout=10).status_code == 404, path


@contextmanager
def readers(worker: Worker, faults: list[str]) -> Iterator[None]:
    """Somebody who reads every page all the time; what is no good answer is kept."""

    def read(stop: threading.Event) -> None:
        while not stop.wait(0.01):
            for page in PAGES:
                try:
                    answer = requests.get(f"{worker.url}{page}", timeout=10)
                except requests.ConnectionError:
                    continue  # the worker has not begun to listen
                if answer.status_code != 200:
                    faults.append(f"{page}: {answer.status_code} {answer.text[:200]}")

    with in_background(read, "reader"):
        yield


def test_the_pages_answer_throughout_rebalances_and_reopenings(fed: FedShop) -> None:
    deployment = fed.deployment()
    first = deployment.worker()
    faults: list[str] = []
    with readers(first, faults), fed.load():
        for _ in range(2):
            other = deployment.worker()
            until(lambda o=other: share([first, o]) == [2, 2], "two partitions each")  # type: ignore[misc]
            assert other.stop()
            until(lambda: share([first]) == [4], "all partitions again")
    fed.wait_emitted()
    assert faults == []


@pytest.mark.nightly  # test_the_pages_answer_throughout_rebalances_and_reopenings runs on every push
def test_the_pages_answer_while_kafka_is_away(fed: FedShop) -> None:
    worker = fed.deployment(INCOMPLETE_AFTER_S="2").worker()
    faults: list[str] = []
    with readers(worker, faults):
        late = [fed.order(num_products=2) for _ in range(8)]
        fed.wait_emitted()
        fed.stack.kill("kafka")
        time.sleep(AWAY_S)  # meanwhile the reports of late orders fail, and their partitions open again
        fed.stack.start("kafka")
        fed.orders(40)
        fed.wait_emitted()
        for id_ in late:
            assert len(fed.tail.wait(ORDER_INCOMPLETE, id_)) == 1
    assert stats_of(worker)["reopened_after_error"] > 0
    assert faults == []
