"""Goal: a partition that opens again, on any worker and after any fault, continues at its group's committed offset.

Method: real servers and workers; the oracle recomputes the complete orders from the database, and the stores of stopped
workers are held against a replay of the changelog. Limits are for liveness only.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from demo.workers import Worker
from stack.local import Stack
from streams.topics import (
    LARGE_RECORDS,
    ORDER_AMENDED,
    ORDER_FINAL,
    order_state_changelog,
)
from tests.streams.orders.conftest import NewWorker
from tests.streams.orders.live_shop import Shop, line, new_id, new_id_in, order
from tests.streams.orders.local_state import (
    SOURCES,
    assert_equals_changelog,
    behind,
    changelog_records,
    opened,
    process_orders,
    wait_processed,
)
from tests.streams.orders.test_workers import assert_exactly_once, live_shop, share
from tests.support.disks import may_mount, small_disk
from tests.support.kafka import ANSWER_S, Record, admin, ends
from tests.support.server_waiting import until

APP_ID: Final = "millrace-orders"
CHANGELOG: Final = order_state_changelog(APP_ID)
PARTITIONS: Final = range(4)
MARKER_BYTES: Final = 78
"""Size of a transaction's marker, which is a record batch of its own."""


@pytest.fixture
def bootstrap(pipeline: Stack) -> str:
    return pipeline.environment()["KAFKA_BOOTSTRAP"]


def stats_of(worker: Worker) -> dict[str, Any]:
    """The `/stats/` of a worker that answers."""
    stats = worker.stats()
    assert stats is not None
    return stats


def started(worker: Worker) -> int:
    """Start a worker; answers how many records it restored until it was ready."""
    worker.start()
    worker.wait_ready()
    return int(stats_of(worker)["restored_records"])


def all_processed(shop: Shop) -> None:
    """Wait until all that is in the database has been processed, and ask the oracle."""
    assert_exactly_once(shop)
    wait_processed(shop.environment["KAFKA_BOOTSTRAP"], APP_ID)


def length(changelog: dict[int, Any]) -> int:
    """Number of its records."""
    return sum(len(records) for records in changelog.values())


# -- restarts ---------------------------------------------------------------------------------------------------------


def test_an_empty_disk_gets_exactly_what_the_changelog_comes_to(
    shop: Shop, new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    first = new_worker(tmp_path / "a")
    started(first)
    with live_shop(shop, seed=21):
        time.sleep(2.0)
    all_processed(shop)
    assert first.stop()

    changelog = changelog_records(bootstrap, APP_ID)
    second = new_worker(tmp_path / "b")
    assert started(second) == length(changelog) > 1_000
    assert second.stop()
    for worker in ("a", "b"):
        assert_equals_changelog(tmp_path / worker / "state", changelog)
    assert_exactly_once(shop)


def test_after_a_graceful_stop_there_is_nothing_to_replay_whatever_markers_trail(
    shop: Shop, new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    worker = new_worker(tmp_path)
    started(worker)
    all_processed(shop)
    assert worker.stop()
    for partition in PARTITIONS:
        abort_a_transaction(bootstrap, partition)
    changelog = changelog_records(bootstrap, APP_ID)
    end = ends(bootstrap, [(CHANGELOG, partition) for partition in PARTITIONS], committed_only=True)
    for partition, records in changelog.items():
        assert end[CHANGELOG, partition] >= records[-1].offset + 4, "a commit marker, a dropped record, its marker"
    assert started(worker) == 0
    assert worker.stop()
    assert_equals_changelog(tmp_path / "state", changelog)


def abort_a_transaction(bootstrap: str, partition: int) -> None:
    """Leave a record in the changelog that nobody must read, and its marker."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": new_id()})
    producer.init_transactions(ANSWER_S)
    producer.begin_transaction()
    producer.produce(CHANGELOG, key=new_id().encode(), value=b"never", partition=partition)
    producer.flush(ANSWER_S)
    producer.abort_transaction(ANSWER_S)


@pytest.mark.nightly  # test_standby takes over with a small tail on every push
def test_after_a_kill_only_the_tail_is_replayed(
    shop: Shop, new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    worker = new_worker(tmp_path)
    started(worker)
    with live_shop(shop, seed=22):
        time.sleep(2.0)
        worker.kill()
        whole = length(changelog_records(bootstrap, APP_ID))
        replayed = started(worker)
    print(f"{replayed} of {whole} records were replayed")
    assert replayed < whole / 5
    assert_exactly_once(shop)
    assert worker.stop()
    assert_equals_changelog(tmp_path / "state", changelog_records(bootstrap, APP_ID))


@pytest.mark.nightly  # tests/unit/runtime/test_restoration.py compares any lives of a store on every push
def test_a_store_older_than_the_deletions_of_its_changelog_is_restored_in_full(
    shop: Shop, new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    worker = new_worker(tmp_path)
    started(worker)
    all_processed(shop)
    assert worker.stop()
    revived = new_id().encode()
    for partition in PARTITIONS:
        with opened(tmp_path / "state", partition) as store:
            store._db.put(revived, b"whose deletion was compacted away")
            store._put_meta(b"up_to_date_at_s", b"%d" % (time.time() - 7 * 86_400))
    changelog = changelog_records(bootstrap, APP_ID)
    assert started(worker) == length(changelog)
    assert worker.log.read_text().count("168 h; restoring in full") == 4
    assert worker.stop()
    assert_equals_changelog(tmp_path / "state", changelog)
    assert started(worker) == 0
    assert worker.stop()


# -- another's turn ---------------------------------------------------------------------------------------------------


def test_partitions_lost_and_regained_by_the_same_worker_go_on(
    shop: Shop, new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    stayer, visitor = new_worker(tmp_path / "stayer"), new_worker(tmp_path / "visitor")
    started(stayer)
    process = stayer.process
    with live_shop(shop, seed=23):
        for visit in (1, 2):
            visitor.start()
            until(lambda: share([stayer, visitor]) == [2, 2], "two partitions each")
            time.sleep(1.0)
            if visit == 1:
                assert visitor.stop()
            else:
                visitor.kill()
            until(lambda: share([stayer]) == [4], "all partitions are back")
    assert stayer.process == process
    assert stats_of(stayer)["opened"] >= 4 + 2 * (2 + 4)
    assert_exactly_once(shop)
    assert stayer.stop()
    assert_equals_changelog(tmp_path / "stayer" / "state", changelog_records(bootstrap, APP_ID))


# -- refusals ---------------------------------------------------------------------------------------------------------


def set_largest_message(bootstrap: str, topic: str, size_bytes: int) -> None:
    """Change the limit of a topic."""
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    client = admin(bootstrap)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for answer in client.incremental_alter_configs([resource]).values():
        answer.result(ANSWER_S)


@contextmanager
def refusing(bootstrap: str, topic: str) -> Iterator[None]:
    """A topic that takes no record. It still takes a transaction's marker: without that no owner could ever go on."""
    set_largest_message(bootstrap, topic, MARKER_BYTES)
    try:
        yield
    finally:
        set_largest_message(bootstrap, topic, int(LARGE_RECORDS["max.message.bytes"]))


def committed(bootstrap: str, partition: int) -> list[int]:
    """Where the group stands in the source topics of a partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": APP_ID})
    try:
        return [tp.offset for tp in consumer.committed([TopicPartition(topic, partition) for topic in SOURCES], 10.0)]
    finally:
        consumer.close()


def changelog_of(bootstrap: str, *orders: str) -> list[Record]:
    """The committed records of these orders of partition 0; timers of other orders may write more at any time."""
    keys = {order.encode() for order in orders}
    return [record for record in changelog_records(bootstrap, APP_ID)[0] if record.key in keys]


def oldest_s(worker: Worker, *, partition: int) -> float:
    """The age of the oldest change of a partition that is not processed yet, in seconds; 0 if it is not known."""
    places = stats_of(worker)["sources"].items()
    return max(place["oldest_s"] or 0.0 for name, place in places if name.endswith(f"/{partition}"))


def test_what_one_output_topic_refuses_holds_its_partition_back_whole_and_nothing_else(
    shop: Shop, new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    worker = new_worker(tmp_path)
    started(worker)
    known, beside, elsewhere = new_id_in(0), new_id_in(0), new_id_in(1)
    shop.transaction(order(known, 1), line(known, 1))
    shop.tail.wait(ORDER_FINAL, known)
    all_processed(shop)
    stands, written = committed(bootstrap, 0), changelog_of(bootstrap, known, beside)
    assert written
    with refusing(bootstrap, ORDER_AMENDED):
        amendment = ("UPDATE orders SET customer_id = 9 WHERE id = %s", (known,))
        shop.transaction(amendment, order(beside, 1), line(beside, 1), order(elsewhere, 1), line(elsewhere, 1))

        def waits() -> bool:
            partition = stats_of(worker)["partitions"]["0"]
            return partition["state"] == "waiting" and "MessageSizeTooLarge" in partition["error"]

        until(waits, "the partition says what it waits for")
        assert len(shop.tail.wait(ORDER_FINAL, elsewhere)) == 1
        time.sleep(3.0)  # several more tries
        until(waits, "it still does")
        until(lambda: oldest_s(worker, partition=0) >= 3.0, "the age of what waits is known")
        assert [stats_of(worker)["partitions"][str(number)]["state"] for number in (1, 2, 3)] == ["running"] * 3
        shop.tail.poll()
        assert shop.tail.of(ORDER_FINAL, beside) == []
        assert committed(bootstrap, 0) == stands
        assert changelog_of(bootstrap, known, beside) == written
    assert len(shop.tail.wait(ORDER_FINAL, beside)) == 1
    [amended] = shop.tail.wait(ORDER_AMENDED, known)
    assert amended.value["customer_id"] == 9
    until(worker.is_ready, "all partitions run again")
    assert_exactly_once(shop)
    assert worker.stop()
    assert_equals_changelog(tmp_path / "state", changelog_records(bootstrap, APP_ID))


def test_a_worker_killed_between_commit_and_local_write_loses_and_repeats_nothing(
    shop: Shop, new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    kill_file, state = tmp_path / "kill", tmp_path / "state"
    program = ("tests.streams.orders.killed_before_write",)
    worker = new_worker(tmp_path, program=program, KILL_FILE=str(kill_file))
    started(worker)
    with live_shop(shop, seed=24):
        for _ in range(3):
            time.sleep(1.0)
            kill_file.touch()
            until(lambda: not worker.is_running(), "it ends itself")
            assert behind(state, changelog_records(bootstrap, APP_ID)), "what was committed was not written"
            assert started(worker) > 0
    assert_exactly_once(shop)
    assert worker.stop()
    assert_equals_changelog(state, changelog_records(bootstrap, APP_ID))


# -- disks ------------------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(folder: Path) -> Iterator[Callable[[Worker], None]]:
    """Have a folder on a disk of its own; yields what fills that disk."""
    with small_disk(folder) as disk:
        yield lambda _: disk.fill()


@contextmanager
def limited_files(folder: Path) -> Iterator[Callable[[Worker], None]]:
    """Yields what lets no file of a worker grow beyond a limit, which its logs of writes have reached."""

    def fill(worker: Worker) -> None:
        highest = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (256 * 1024, highest))

    yield fill


DISKS = [limited_files, *([pytest.param(full_disk, marks=pytest.mark.nightly)] if may_mount() else [])]


@pytest.mark.parametrize("disk", DISKS)
def test_a_full_disk_ends_its_worker_by_name_and_another_takes_over(
    shop: Shop, new_worker: NewWorker, bootstrap: str, tmp_path: Path, disk: Any
) -> None:
    state = tmp_path / "disk"
    cramped, roomy = new_worker(tmp_path / "cramped", STATE_DIR=str(state)), new_worker(tmp_path / "roomy")
    with disk(state) as fill:
        started(cramped)
        for partition in PARTITIONS:
            process_orders(bootstrap, APP_ID, count=2_000, partition=partition)
        with live_shop(shop, seed=25):
            fill(cramped)
            until(lambda: not cramped.is_running(), "it ends")
            log = cramped.log.read_text()
            assert f"cannot write to store {state}/" in log
            assert "No space left on device" in log or "File too large" in log
            started(roomy)
            (state / "filler").unlink(missing_ok=True)
            cramped.start()
            until(lambda: share([cramped, roomy]) == [2, 2], "two partitions each")
        assert_exactly_once(shop)
        assert roomy.stop()
        until(lambda: share([cramped]) == [4], "it serves all partitions")
        assert cramped.stop()
        assert_equals_changelog(state, changelog_records(bootstrap, APP_ID))
