"""Goal: a worker that stands by for another's partitions takes them over with a small tail to replay, and leaves no
store locked or stale behind.

Method: real servers and two workers with a standby each; the oracle recomputes the complete orders from the database,
and the stores of stopped workers are held against a replay of the changelog. Limits are for liveness only.
"""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from config.settings import KafkaSettings
from demo.workers import Worker
from ops.topics import apply_topics
from stack.local import Stack
from streams.runtime.state.changelog import RECENT_OFFSETS
from streams.topics import ORDER_FINAL, catalogue, order_state_changelog
from tests.streams.orders.conftest import NewWorker
from tests.streams.orders.live_shop import Shop, line, new_id_in, order
from tests.streams.orders.local_state import assert_equals_changelog, changelog_records, process_orders, wait_processed
from tests.streams.orders.test_workers import assert_exactly_once, live_shop, share
from tests.support.kafka import ANSWER_S, admin, delete_topics
from tests.support.server_waiting import LIVENESS_S, until

APP_ID: Final = "millrace-orders"


@pytest.fixture
def bootstrap(pipeline: Stack) -> str:
    return pipeline.environment()["KAFKA_BOOTSTRAP"]


def stats_of(worker: Worker) -> dict[str, Any]:
    """The `/stats/` of a worker that answers."""
    stats = worker.stats()
    assert stats is not None
    return stats


def owned(worker: Worker) -> set[str]:
    """Numbers of the partitions that a worker processes."""
    return set(stats_of(worker)["partitions"])


def stood_by_for(worker: Worker) -> set[str]:
    """Numbers of the partitions that a worker keeps up with, without any delay."""
    standbys = (worker.stats() or {"standbys": {}})["standbys"]
    return {name.rpartition("/")[2] for name, standby in standbys.items() if not standby["restore_remaining"]}


def stand_by_for_each_other(workers: list[Worker]) -> bool:
    """Whether two workers share the partitions, and each is up to date with the other's."""
    one, two = workers
    return share(workers) == [2, 2] and stood_by_for(one) == owned(two) and stood_by_for(two) == owned(one)


@pytest.fixture
def pair(new_worker: NewWorker, tmp_path: Path) -> list[Worker]:
    """Two workers that stand by for each other; their states are in `tmp_path/a/state` and `tmp_path/b/state`."""
    workers = [new_worker(tmp_path / name, STANDBY_REPLICAS="1") for name in ("a", "b")]
    for worker in workers:
        worker.start()
    until(lambda: stand_by_for_each_other(workers), "each stands by for the other's partitions")
    return workers


def state_of(worker: Worker) -> Path:
    """Its `STATE_DIR`."""
    return worker.log.parent / "state"


def restored_here(worker: Worker, numbers: set[str]) -> int:
    """Records that were replayed when these partitions were opened the last time."""
    partitions = stats_of(worker)["partitions"]
    return sum(int(partitions[number]["restored_records"]) for number in numbers)


# -- taking over ------------------------------------------------------------------------------------------------------


def test_a_standby_takes_over_with_a_small_tail_and_the_dead_comes_back(
    shop: Shop, pair: list[Worker], bootstrap: str
) -> None:
    victim, survivor = pair
    taken = [int(number) for number in owned(victim)]
    ids, long = [new_id_in(number) for number in taken], taken[0]
    process_orders(bootstrap, APP_ID, count=30_000, partition=long)
    for id_ in ids:
        shop.transaction(order(id_, 1), line(id_, 5))
        shop.tail.wait(ORDER_FINAL, id_)
    until(lambda: stand_by_for_each_other(pair), "the standbys have kept up")
    with live_shop(shop, seed=31):
        time.sleep(2.0)
        victim.kill()
        until(lambda: share([survivor]) == [4], "the survivor serves all partitions")
        replayed, whole = restored_here(survivor, {str(long)}), len(changelog_records(bootstrap, APP_ID)[long])
        print(f"{replayed} of {whole} records of partition {long} were replayed")
        assert replayed <= RECENT_OFFSETS < whole / 2
        for id_ in ids:
            answer = requests.get(f"{survivor.url}/orders/{id_}/", timeout=10)
            assert (answer.status_code, answer.json().get("emitted")) == (200, True), answer.text

        victim.start()
        until(lambda: stand_by_for_each_other(pair), "it is back with its disk")
        victim.kill()
        shutil.rmtree(state_of(victim))
        victim.start()
        until(lambda: stand_by_for_each_other(pair), "it is back with an empty disk")
    assert_exactly_once(shop)

    assert victim.stop(), "a worker with standbys stops by itself"
    until(lambda: share([survivor]) == [4], "the survivor serves all partitions")
    assert survivor.stop()
    assert_equals_changelog(state_of(survivor), changelog_records(bootstrap, APP_ID))


# -- coming and going -------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_workers_that_come_and_go_leave_no_store_locked_and_no_worker_broken(
    shop: Shop, pair: list[Worker], new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    visitor = new_worker(tmp_path / "visitor", STANDBY_REPLICAS="1")
    with live_shop(shop, seed=32):
        for stay_s in (0.0, 0.5, 1.5, 3.0, 6.0):
            visitor.start()
            until(visitor.is_ready, "it has joined")
            time.sleep(stay_s)
            assert visitor.stop(), "it leaves by itself"
        until(lambda: stand_by_for_each_other(pair), "the pair has everything again")
    assert_exactly_once(shop)
    leaver, stayer = pair
    assert leaver.stop()
    until(lambda: share([stayer]) == [4], "the last one serves all partitions")
    assert stayer.stop()
    for worker in (*pair, visitor):
        log = worker.log.read_text()
        assert "cannot open store" not in log
        assert "unrecoverable" not in log
        assert "Traceback" not in log
    assert_equals_changelog(state_of(stayer), changelog_records(bootstrap, APP_ID))


# -- another log ------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_a_standby_notices_that_its_changelog_was_deleted_and_made_anew(
    pipeline: Stack, new_worker: NewWorker, bootstrap: str, tmp_path: Path
) -> None:
    app_id = "millrace-anew"
    specs = catalogue(dataset="project_db", app_id=app_id, order_partitions=4)
    apply_topics(KafkaSettings.read(pipeline.environment()), specs)
    workers = [new_worker(tmp_path / n, STANDBY_REPLICAS="1", ORDERS_APP_ID=app_id) for n in ("a", "b")]
    owner, other = workers
    for worker in workers:
        worker.start()
    until(lambda: stand_by_for_each_other(workers), "each stands by for the other's partitions")
    wait_processed(bootstrap, app_id)
    until(lambda: stand_by_for_each_other(workers), "the standbys have kept up")
    for worker in workers:
        assert worker.stop()
    delete_topics(bootstrap, order_state_changelog(app_id))
    until(lambda: forgets_group(bootstrap, app_id), "the group is gone")
    apply_topics(KafkaSettings.read(pipeline.environment()), specs)

    owner.start()
    owner.wait_ready()
    other.start()
    until(lambda: stand_by_for_each_other(workers), "each stands by for the other's partitions again")
    wait_processed(bootstrap, app_id)
    noticed = re.findall(r"partition=(\d)\): the topic was recreated", other.log.read_text())
    assert set(noticed) == {"0", "1", "2", "3"}, "two as their owner, two as a standby"
    until(lambda: stand_by_for_each_other(workers), "the standbys have kept up")
    time.sleep(1.0)  # a standby's poll
    assert owner.stop()
    until(lambda: share([other]) == [4], "the other serves all partitions")
    assert other.stop()
    assert_equals_changelog(state_of(other), changelog_records(bootstrap, app_id))


def forgets_group(bootstrap: str, group: str) -> bool:
    """Delete a consumer group, once its last member is forgotten."""
    client = admin(bootstrap)
    [answer] = client.delete_consumer_groups([group], request_timeout=LIVENESS_S).values()
    return answer.exception(ANSWER_S) is None
