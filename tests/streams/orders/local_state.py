"""The state of orders: to let it grow; what the stores of a stopped worker hold, and what their changelog says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from confluent_kafka import Producer

from streams.runtime.partition.hashing import partition_of
from streams.runtime.state.changelog import CONTROL_BYTE
from streams.runtime.state.memory import StoreMemory
from streams.runtime.state.store import PartitionStore
from streams.topics import change_topic, order_state_changelog
from tables.order_state import CODEC
from tests.streams.orders.live_shop import new_id
from tests.support.builders import created, detail_row, order_row
from tests.support.kafka import ANSWER_S, Lag, Record, read_topics
from tests.support.server_waiting import until

SOURCES = [change_topic("project_db", table) for table in ("orders", "order_details")]
ALL_KINDS = range(1, 255)
CACHE_BYTES = 1024 * 1024


def wait_processed(bootstrap: str, app_id: str) -> None:
    """Wait until a group has nothing before it."""
    lag = Lag(bootstrap, app_id, SOURCES)
    until(lag.is_zero, "everything is processed")
    lag.close()


def process_orders(bootstrap: str, app_id: str, *, count: int, partition: int) -> None:
    """Let a partition process many orders: first their rows, then their lines, each a record of its changelog."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": count})
    ids = list(islice((id_ for id_ in iter(new_id, "") if partition_of(id_.encode(), 4) == partition), count))
    rows = [order_row(id_, num_products=1, payment_method_id=1) for id_ in ids]
    lines = [detail_row(id_) for id_ in ids]
    for topic, each in zip(SOURCES, (rows, lines), strict=True):
        for id_, row in zip(ids, each, strict=True):
            producer.produce(topic, key=id_, value=created(row), partition=partition)
        assert producer.flush(ANSWER_S) == 0
        wait_processed(bootstrap, app_id)


def changelog_records(bootstrap: str, app_id: str) -> dict[int, list[Record]]:
    """The committed records of each partition of the changelog, without their heads."""
    records: dict[int, list[Record]] = {}
    for record in read_topics(bootstrap, order_state_changelog(app_id)):
        partition = records.setdefault(record.partition, [])
        if not (record.key or b"").startswith(CONTROL_BYTE):
            partition.append(record)
    return records


def newest(records: list[Record]) -> dict[bytes, bytes]:
    """The newest value by key of a changelog partition."""
    states = {record.key: record.value for record in records}
    return {key: value for key, value in states.items() if key is not None and value is not None}


@contextmanager
def opened(state_dir: Path, partition: int) -> Iterator[PartitionStore]:
    """The store of a partition; the worker has ended, and this folder has never had but one."""
    [path] = state_dir.glob(f"*/v1/tables/order_state/{partition}")
    store = PartitionStore(path, StoreMemory(CACHE_BYTES))
    try:
        yield store
    finally:
        store.close()


def behind(state_dir: Path, changelog: Mapping[int, list[Record]]) -> list[int]:
    """Partitions whose stores lack the end of their changelog."""
    found = []
    for partition, records in changelog.items():
        with opened(state_dir, partition) as store:
            if records and (store.changelog_offset or 0) < records[-1].offset:
                found.append(partition)
    return found


def assert_equals_changelog(state_dir: Path, changelog: Mapping[int, list[Record]]) -> None:
    """The stores hold what the changelog comes to, and timers of exactly the states that have one."""
    for partition, records in changelog.items():
        with opened(state_dir, partition) as store:
            states, timers = dict(store.items()), store.timers
            assert states == newest(records), f"the store of partition {partition} is not its changelog"
            listed = {(kind, *entry) for kind in ALL_KINDS for entry in timers.entries(kind)}
            entries = {key: CODEC.timer_of(CODEC.decode(state)) for key, state in states.items()}
            assert listed == {(*entry, key) for key, entry in entries.items() if entry is not None}
