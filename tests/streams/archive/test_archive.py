"""Goal: the archive holds what Kafka holds, byte for byte, each record once, also after faults of workers and storage.

Method: real workers of `streams.archive` on Kafka and MinIO; the test writes the change topics in transactions, as an
exactly-once connector does. Oracle: Kafka, read to its end, against the chains as a reader follows them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from demo.workers import Worker
from stack.local import Stack
from streams.runtime.testing import Consumed
from streams.topics import change_topic
from tables.archive.rows import Rows
from tests.streams.archive.archived_shop import ArchivedShop
from tests.streams.orders.deployments import metric, stats_of
from tests.support.builders import created, order_row
from tests.support.server_waiting import until

LONG_S = "1000"


def running(workers: list[Worker]) -> list[int]:
    """Number of partitions that each worker processes."""
    found = [worker.stats() for worker in workers if worker.is_running()]
    return [
        sum(partition["state"] == "running" for partition in stats["partitions"].values()) if stats["ready"] else 0
        for stats in found
        if stats is not None
    ]


def group_offsets(shop: ArchivedShop) -> dict[tuple[str, int], int]:
    """The offsets that the consumer group has committed."""
    app_id = shop.environment["ARCHIVE_APP_ID"]
    places = [TopicPartition(topic, number) for topic, number in shop.places()]
    admin = AdminClient({"bootstrap.servers": shop.bootstrap})
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(app_id, places)])[app_id].result(30)
    return {(tp.topic, tp.partition): tp.offset for tp in found.topic_partitions}


def test_every_record_is_kept_as_it_came_and_a_restart_writes_nothing_again(shop: ArchivedShop) -> None:
    shop.write_odd_records()
    shop.orders(50)
    worker = shop.worker(ARCHIVE_FLUSH_BYTES="20000")
    shop.until_complete()
    shop.write_odd_records()
    shop.orders(50)
    shop.until_complete()
    expected = shop.in_kafka()
    records = sum(len(each) for each in expected.values())
    assert any(len(record.value or b"") == 10_000_000 for each in expected.values() for record in each)
    until(lambda: stats_of(worker)["archive"]["records"] == records, "everything is counted")
    stats = stats_of(worker)
    assert stats["archive"]["objects"] == len(shop.objects())
    assert (stats["archive"]["refused"], stats["refused"]) == (0, 0)
    assert len(stats["partitions"]) == len(stats["waiting"]) == len(shop.places())
    for event, count in stats["archive"].items():
        assert metric(worker, "millrace_archive_total", event=event) == count
    busy = max((len(each), place) for place, each in expected.items())[1]
    assert metric(worker, "millrace_archive_waiting_seconds", partition=f"{busy[0]}/{busy[1]}") == 0
    ends = {place: each[-1].offset + 1 for place, each in expected.items() if each}
    until(lambda: {p: o for p, o in group_offsets(shop).items() if o > 0} == ends, "the group is told")
    assert worker.stop()
    before = shop.objects()
    again = shop.worker()
    assert {p["state"] for p in stats_of(again)["partitions"].values()} == {"running"}
    shop.orders(5)
    shop.until_complete()
    assert set(before) < set(shop.objects())
    assert stats_of(again)["archive"]["refused"] == 0


def test_a_group_that_was_forgotten_makes_nothing_twice(shop: ArchivedShop) -> None:
    worker = shop.worker(ARCHIVE_FLUSH_S="0.1")
    for _ in range(3):
        shop.orders(20)
        shop.until_complete()
    assert worker.stop()
    before = shop.objects()
    assert len(before) > 3 * 4
    shop.delete_group(shop.environment["ARCHIVE_APP_ID"])
    shop.worker()
    assert shop.is_complete()
    assert shop.objects() == before


def test_a_worker_that_ends_puts_what_waits(shop: ArchivedShop) -> None:
    worker = shop.worker(ARCHIVE_FLUSH_S=LONG_S)
    shop.orders(30)
    until(lambda: stats_of(worker).get("records") == 60, "the worker has everything")
    assert shop.objects() == []
    assert worker.stop()
    assert shop.is_complete()


def test_workers_killed_and_frozen_under_load_leave_every_record_once(shop: ArchivedShop) -> None:
    workers = [shop.worker(ARCHIVE_FLUSH_BYTES="20000") for _ in range(2)]
    places = len(shop.places())
    until(lambda: sum(running(workers)) == places and min(running(workers)) > 0, "both serve partitions")
    with shop.load():
        for victim, survivor in [workers, workers[::-1]]:
            time.sleep(1.0)
            victim.kill()
            until(lambda w=survivor: running([w]) == [places], "the survivor serves all partitions")  # type: ignore[misc]
            victim.start()
            victim.wait_ready()
            until(lambda: sum(running(workers)) == places and min(running(workers)) > 0, "both serve again")
        sleeper, other = workers
        sleeper.pause()
        until(lambda: running([other]) == [places], "the other one serves all partitions")
        time.sleep(1.0)
        sleeper.resume()
        until(lambda: sum(running(workers)) == places and min(running(workers)) > 0, "both serve again")
    shop.until_complete()


@pytest.mark.parametrize("part", [1.0, 0.5], ids=["the same bytes", "a shorter piece"])
def test_an_object_that_is_there_already_is_taken_for_what_it_is(shop: ArchivedShop, part: float) -> None:
    topic = change_topic(shop.dataset, "payment_method")
    worker = shop.worker(ARCHIVE_FLUSH_S="4")
    shop.write_raw("payment_method", "1", *[created(order_row(str(number))) for number in range(10)])
    until(lambda: stats_of(worker).get("records") == 10, "the worker has everything")
    records = [
        Consumed(topic, 0, kept.offset, kept.key, kept.value, kept.timestamp or 0) for kept in shop.in_kafka()[topic, 0]
    ]
    rows = Rows()
    rows.add(records[: int(len(records) * part)])
    shop.put(topic, 0, 0, rows.file()(), rows.last_offset)
    shop.write_raw("payment_method", "1", b"another")
    shop.until_complete()
    stats = stats_of(worker)["archive"]
    assert stats["refused"] == 1
    assert stats["records"] == 11 - rows.records


def kill(stack: Stack) -> None:
    """End MinIO as a crash would; its disk stays."""
    stack.kill("minio")


def kill_with_data(stack: Stack) -> None:
    """End MinIO as a crash would, and delete its data."""
    stack.kill("minio")
    shutil.rmtree(stack.site.data("minio"))


def freeze(stack: Stack) -> None:
    """It does not answer for a while."""
    stack.pause("minio")


@pytest.mark.parametrize(
    "away",
    [
        pytest.param(kill, id="killed", marks=pytest.mark.nightly),
        pytest.param(freeze, id="frozen"),
        pytest.param(kill_with_data, id="killed with its data"),
    ],
)
def test_an_outage_of_the_storage_costs_nothing_but_time(
    servers: Stack, shop: ArchivedShop, away: Callable[[Stack], None]
) -> None:
    worker = shop.worker(ARCHIVE_FLUSH_BYTES="20000")
    with shop.load():
        until(lambda: len(shop.objects()) > 20, "objects are put")
        away(servers)
        until(lambda: not stats_of(worker)["ready"], "the worker says that it waits")
        stats = stats_of(worker)
        assert "archive" in stats["away_since"]
        assert any("SinkAwayError" in (partition["error"] or "") for partition in stats["partitions"].values())
        time.sleep(2.0)
        if away is freeze:
            servers.resume("minio")
        servers.start("minio")
        until(lambda: stats_of(worker)["ready"], "the worker goes on by itself")
    if away is kill_with_data:
        shop._rows.clear()
    shop.until_complete()
    assert worker.is_running()
