"""Goal: a partition's producer is quiet in an outage, leaves nothing behind, and notes what was never answered.

Method: the real committer and producer against a scripted broker (`scripted_broker.py`), over real connections.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced
from aiokafka.producer import sender
from aiokafka.protocol.metadata import MetadataResponse_v5
from aiokafka.structs import TopicPartition

from streams.runtime.partition import producer as producer_module
from streams.runtime.partition import transaction
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.committer import KafkaTransactions
from streams.runtime.partition.producer import LONGEST_PAUSE_S, METADATA_MAX_AGE_MS, PartitionProducer, retry_pause_s
from tests.support.async_waiting import until
from tests.support.scripted_broker import (
    CONCURRENT_TRANSACTIONS,
    CUT,
    CUT_AFTERWARDS,
    GROUP_NOT_ALLOWED,
    INVALID_PRODUCER_EPOCH,
    INVALID_TXN_STATE,
    MESSAGE_TOO_LARGE,
    NO_LEADER,
    NOT_COORDINATOR,
    NOT_ENOUGH_REPLICAS,
    TOPIC_NOT_ALLOWED,
    ScriptedBroker,
    first_times,
)

OUTPUTS = [OutputRecord(topic, b"key", b"value") for topic in ("changelog", "order_final")]
OFFSETS = {"orders": 5, "order_details": 7}
OF_ONE_TRANSACTION = ["AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"]
OUTAGE_S = 0.5


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with ScriptedBroker("changelog", "order_final") as broker:
        yield broker


@pytest.fixture
async def committer(broker: ScriptedBroker) -> AsyncIterator[KafkaTransactions]:
    committer = committer_of(broker)
    await committer.open()
    yield committer
    await committer.close()


def committer_of(broker: ScriptedBroker) -> KafkaTransactions:
    async def no_offsets(partition: int) -> dict[str, tuple[int | None, str]]:
        return {}

    return KafkaTransactions(
        partition=0,
        group="group",
        transactional_id="orders-0",
        transaction_timeout_ms=10_000,
        compression="zstd",
        client={"bootstrap_servers": f"127.0.0.1:{broker.port}"},
        read_committed_offsets=no_offsets,
    )


async def commit_in_an_outage(committer: KafkaTransactions) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(OUTAGE_S):
            await committer.commit(OUTPUTS, OFFSETS)


# -- fencing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn"])
async def test_a_fencing_is_reported_as_one(broker: ScriptedBroker, committer: KafkaTransactions, name: str) -> None:
    broker.script = first_times(name, 1, INVALID_PRODUCER_EPOCH)
    with pytest.raises(ProducerFenced):
        await committer.commit(OUTPUTS, OFFSETS)


async def test_a_fencing_between_two_calls_is_reported_as_one(
    broker: ScriptedBroker, committer: KafkaTransactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = transaction.send_records
    sent: list[Any] = []

    async def slow_send(*args: Any) -> Any:
        if sent:  # the answer to the first one arrives before the second is sent
            await until(lambda: committer._producer.failure is not None)
        sent.append(args)
        return await send(*args)

    monkeypatch.setattr(transaction, "send_records", slow_send)
    broker.script = first_times("AddPartitionsToTxn", 1, INVALID_PRODUCER_EPOCH)
    with pytest.raises(ProducerFenced):
        await committer.commit(OUTPUTS, OFFSETS)


# -- requests without an answer ---------------------------------------------------------------------------------------


async def test_a_healthy_transaction_costs_five_requests_and_no_new_epoch(
    broker: ScriptedBroker, committer: KafkaTransactions
) -> None:
    await committer.commit(OUTPUTS, OFFSETS)
    before = len(broker.seen)
    for _ in range(3):
        await committer.commit(OUTPUTS, OFFSETS)
    names = [each.name for each in broker.seen[before:]]
    for one in (names[:5], names[5:10], names[10:]):
        assert sorted(one) == sorted(OF_ONE_TRANSACTION)
    assert not committer.must_reopen
    assert broker.epoch == 0


async def test_the_requests_of_a_transaction_wait_four_times_for_the_broker(
    committer: KafkaTransactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await committer.commit(OUTPUTS, OFFSETS)  # the next transaction asks for nothing else
    watched, waits = committer._producer._sender.client, []
    send, under_way = watched.send, set[object]()

    async def counted(node_id: int, request: object, **options: object) -> object:
        if not under_way:
            waits.append(set[str]())
        under_way.add(request)
        waits[-1].add(type(request).__name__.removesuffix("Request"))
        try:
            return await send(node_id, request, **options)
        finally:
            under_way.discard(request)

    monkeypatch.setattr(watched, "send", counted)
    await committer.commit(OUTPUTS, OFFSETS)
    assert waits == [{"AddPartitionsToTxn", "AddOffsetsToTxn"}, {"Produce"}, {"TxnOffsetCommit"}, {"EndTxn"}]


@pytest.mark.parametrize("name", ["Produce", "TxnOffsetCommit", "AddPartitionsToTxn", "AddOffsetsToTxn"])
@pytest.mark.parametrize("code", [INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE], ids=["fenced", "failed"])
async def test_no_transaction_ends_while_one_of_its_requests_failed(
    broker: ScriptedBroker, committer: KafkaTransactions, name: str, code: int
) -> None:
    broker.script = first_times(name, 1, code)
    with pytest.raises(KafkaError):
        async with asyncio.timeout(30.0):
            await committer.commit(OUTPUTS, OFFSETS)
    await committer.close()
    assert not broker.counts()["EndTxn"]


@pytest.mark.parametrize("code", [CONCURRENT_TRANSACTIONS, NOT_COORDINATOR], ids=["busy", "moved"])
@pytest.mark.parametrize("name", ["AddPartitionsToTxn", "AddOffsetsToTxn"])
async def test_of_two_requests_sent_at_once_only_the_refused_one_is_repeated(
    broker: ScriptedBroker, committer: KafkaTransactions, name: str, code: int
) -> None:
    broker.script = first_times(name, 1, code)
    await committer.commit(OUTPUTS, OFFSETS)
    assert broker.counts() >= Counter(OF_ONE_TRANSACTION)
    assert {each: broker.counts()[each] for each in OF_ONE_TRANSACTION if broker.counts()[each] > 1} == {name: 2}


async def test_offsets_wait_until_the_last_record_was_accepted(
    broker: ScriptedBroker, committer: KafkaTransactions
) -> None:
    broker.script = first_times("Produce", 3, NOT_ENOUGH_REPLICAS)
    await committer.commit(OUTPUTS, OFFSETS)
    assert [each.name for each in broker.seen if each.name in OF_ONE_TRANSACTION] == [
        "AddPartitionsToTxn",
        "AddOffsetsToTxn",
        *["Produce"] * 4,
        "TxnOffsetCommit",
        "EndTxn",
    ]


async def test_offsets_are_sent_to_the_coordinator_that_a_group_has_moved_to(
    broker: ScriptedBroker, committer: KafkaTransactions
) -> None:
    broker.script = first_times("TxnOffsetCommit", 1, NOT_COORDINATOR)
    await committer.commit(OUTPUTS, OFFSETS)
    assert broker.counts()["TxnOffsetCommit"] == 2
    assert [each.name for each in broker.seen].count("EndTxn") == 1
    assert broker.seen[-1].name == "EndTxn"


@pytest.mark.parametrize(
    "refused", [{"AddPartitionsToTxn"}, {"AddOffsetsToTxn"}, {"AddPartitionsToTxn", "AddOffsetsToTxn"}]
)
async def test_no_transaction_ends_if_a_right_is_missing(
    broker: ScriptedBroker, committer: KafkaTransactions, refused: set[str]
) -> None:
    codes = {
        "AddPartitionsToTxn": TOPIC_NOT_ALLOWED,
        "AddOffsetsToTxn": GROUP_NOT_ALLOWED,
        "Produce": TOPIC_NOT_ALLOWED,
    }
    broker.script = lambda name: codes[name] if name in refused else 0
    with pytest.raises(KafkaError):
        async with asyncio.timeout(30.0):
            await committer.commit(OUTPUTS, OFFSETS)
    await committer.close()
    assert not broker.counts()["EndTxn"]


async def test_a_record_that_is_refused_is_the_reason_although_the_offsets_arrived(
    broker: ScriptedBroker, committer: KafkaTransactions
) -> None:
    broker.script = first_times("Produce", 1, MESSAGE_TOO_LARGE)
    with pytest.raises(MessageSizeTooLargeError):
        await committer.commit(OUTPUTS, OFFSETS)
    await until(lambda: broker.counts()["TxnOffsetCommit"])
    await committer.close()
    assert not broker.counts()["EndTxn"]


@pytest.mark.parametrize("code", [CUT, CUT_AFTERWARDS], ids=["request lost or held", "answer lost"])
@pytest.mark.parametrize("name", OF_ONE_TRANSACTION)
async def test_a_repeated_request_calls_for_a_new_epoch_before_the_next_transaction(
    broker: ScriptedBroker, committer: KafkaTransactions, name: str, code: int
) -> None:
    broker.script = first_times(name, 1, code)
    await committer.commit(OUTPUTS, OFFSETS)
    assert broker.counts()[name] == 2, "the client repeats it and reports success"
    assert committer.must_reopen
    with pytest.raises(AssertionError):
        await committer.commit(OUTPUTS, OFFSETS)
    assert broker.counts()["EndTxn"] == 1 + (name == "EndTxn"), "no further transaction has begun"
    await committer.close()
    renewed = committer_of(broker)
    await renewed.open()
    await renewed.commit(OUTPUTS, OFFSETS)
    await renewed.close()
    epochs = [each.fields.producer_epoch for each in broker.seen if each.name == "EndTxn"]
    assert epochs[-2:] == [0, 1]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("AddPartitionsToTxn", CONCURRENT_TRANSACTIONS),
        ("EndTxn", CONCURRENT_TRANSACTIONS),
        ("Produce", NOT_ENOUGH_REPLICAS),
    ],
)
async def test_a_request_that_the_broker_refused_is_repeated_in_the_same_epoch(
    broker: ScriptedBroker, committer: KafkaTransactions, name: str, code: int
) -> None:
    broker.script = first_times(name, 2, code)
    await committer.commit(OUTPUTS, OFFSETS)
    assert broker.counts()[name] == 3
    assert not committer.must_reopen, "the broker has answered, so no copy is under way"


async def test_a_lost_answer_to_the_opening_itself_calls_for_nothing(broker: ScriptedBroker) -> None:
    broker.script = first_times("InitProducerId", 1, CUT_AFTERWARDS)
    committer = committer_of(broker)
    await committer.open()
    assert broker.epoch == 1, "asked twice; a third copy could only fence the producer"
    assert not committer.must_reopen
    await committer.close()


# -- outages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Produce", NOT_ENOUGH_REPLICAS),
        ("Produce", CUT),
        ("EndTxn", CUT),
        ("AddPartitionsToTxn", CONCURRENT_TRANSACTIONS),
    ],
)
async def test_nothing_of_a_closed_producer_goes_on(
    broker: ScriptedBroker, committer: KafkaTransactions, name: str, code: int
) -> None:
    await committer.commit(OUTPUTS, OFFSETS)
    others = asyncio.all_tasks()
    broker.script = first_times(name, 1_000_000, code)
    await commit_in_an_outage(committer)
    await committer.close()
    requests = len(broker.seen)
    await until(lambda: not broker.connections)
    assert asyncio.all_tasks() <= others
    await asyncio.sleep(2 * LONGEST_PAUSE_S)
    assert len(broker.seen) == requests


async def test_a_producer_whose_peer_is_gone_closes_too(broker: ScriptedBroker, committer: KafkaTransactions) -> None:
    await committer.commit(OUTPUTS, OFFSETS)
    others = asyncio.all_tasks()
    await broker.__aexit__()
    await commit_in_an_outage(committer)
    await committer.close()
    await until(lambda: asyncio.all_tasks() <= others)


@pytest.mark.parametrize("outage", ["replicas", "leader"])
async def test_requests_become_rare_in_an_outage(
    broker: ScriptedBroker, committer: KafkaTransactions, outage: str
) -> None:
    await committer.commit(OUTPUTS, OFFSETS)
    if outage == "leader":
        broker.leader = NO_LEADER
        await committer._producer.client.force_metadata_update()
    broker.script = first_times("Produce", 1_000_000, NOT_ENOUGH_REPLICAS)
    before = len(broker.seen)
    await commit_in_an_outage(committer)
    # A fixed pause of 4 ms made it about 100. The bound holds on a slow machine too, where there are fewer.
    assert len(broker.seen) - before < 40


def test_the_pause_before_a_retry_grows_from_4_to_500_ms() -> None:
    assert retry_pause_s(0.0) == 0.004
    assert retry_pause_s(0.1) == 0.025
    assert retry_pause_s(60.0) == 0.5
    tries, trying_s = 0, 0.0
    while trying_s < 60.0:
        tries, trying_s = tries + 1, trying_s + retry_pause_s(trying_s)
    assert tries < 150


async def test_an_unfinished_former_transaction_costs_a_few_milliseconds_not_twenty(
    broker: ScriptedBroker, committer: KafkaTransactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def no_pause(trying_s: float) -> float:
        pauses.append(trying_s)
        return 0.0

    monkeypatch.setattr(producer_module, "retry_pause_s", no_pause)
    monkeypatch.setattr(sender, "BACKOFF_OVERRIDE", 60.0)
    broker.script = first_times("AddPartitionsToTxn", 1, CONCURRENT_TRANSACTIONS)
    async with asyncio.timeout(30.0):
        await committer.commit(OUTPUTS, OFFSETS)
    assert pauses


async def test_a_producer_keeps_the_metadata_of_its_own_partition_only() -> None:
    producer = PartitionProducer(partition=2, bootstrap_servers="127.0.0.1:1", transactional_id="orders-2")
    partitions: list[tuple[Any, ...]] = [(0, number, 7, [7], [7], []) for number in range(500)]
    topics = [(0, name, False, partitions) for name in ("changelog", "order_final")]
    cluster = producer.client.cluster
    cluster.update_metadata(MetadataResponse_v5(0, [(7, "127.0.0.1", 9092, None)], "cluster", 7, topics))
    assert {topic: cluster.partitions_for_topic(topic) for topic in cluster.topics()} == {
        "changelog": {2},
        "order_final": {2},
    }
    assert cluster.leader_for_partition(TopicPartition("order_final", 2)) == 7
    assert producer.client._metadata_max_age_ms == METADATA_MAX_AGE_MS
    await producer.stop()
