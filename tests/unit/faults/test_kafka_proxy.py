"""Goal: the proxy holds the request that ends a transaction, and delivers it in the middle of the next one.

Method: the real producer against a scripted broker, through the proxy.
"""

from __future__ import annotations

import random
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.committer import KafkaTransactions
from streams.runtime.partition.producer import PartitionProducer
from tests.faults import kafka_proxy
from tests.faults.kafka_proxy import END_TXN, PRODUCE, KafkaProxy, parse
from tests.support.async_waiting import until
from tests.support.scripted_broker import ScriptedBroker

OUTPUTS = [OutputRecord("order_final", b"key", b"value")]
ADDING = ["AddPartitionsToTxn", "AddOffsetsToTxn"]
PARTS = {"Produce", "TxnOffsetCommit"}
"""Sent at the same time, on two connections, so they arrive in any order."""


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with ScriptedBroker("order_final") as broker:
        yield broker


@pytest.fixture
async def proxy(broker: ScriptedBroker) -> AsyncIterator[KafkaProxy]:
    with KafkaProxy(broker.port) as proxy:
        broker.advertised_port = proxy.port
        yield proxy


async def no_offsets(partition: int) -> dict[str, tuple[int | None, str]]:
    return {}


async def commits(proxy: KafkaProxy, count: int, *, transactional_id: str = "orders-0") -> None:
    """Commit transactions, each with a committer of its own if the former one must not go on."""
    done = 0
    while done < count:
        committer = KafkaTransactions(
            partition=0,
            group="group",
            transactional_id=transactional_id,
            transaction_timeout_ms=10_000,
            compression="zstd",
            client={"bootstrap_servers": proxy.address},
            read_committed_offsets=no_offsets,
        )
        await committer.open()
        while done < count and not committer.must_reopen:
            await committer.commit(OUTPUTS, {"orders": done})
            done += 1
        await committer.close()


def transactional(broker: ScriptedBroker) -> list[tuple[str, int]]:
    """Requests of transactions with their epochs; a batch of records has its epoch inside."""
    names = {*ADDING, *PARTS, "EndTxn"}
    return [(each.name, getattr(each.fields, "producer_epoch", -1)) for each in broker.seen if each.name in names]


async def test_everything_passes(broker: ScriptedBroker, proxy: KafkaProxy) -> None:
    proxy.hold(0.0, First())
    await commits(proxy, 3)
    names = [name for name, _ in transactional(broker)]
    for one in (names[:5], names[5:10], names[10:]):
        assert (one[:2], {*one[2:4]}, one[4:]) == (ADDING, PARTS, ["EndTxn"])
    assert (proxy.late.seen, proxy.late.held, proxy.late.answers) == (3, 0, [])


async def test_a_held_request_is_repeated_and_delivered_in_the_middle_of_the_next_transaction(
    broker: ScriptedBroker, proxy: KafkaProxy
) -> None:
    proxy.hold(1.0, First())
    await commits(proxy, 2)
    requests = transactional(broker)
    assert requests[4] == ("EndTxn", 0)
    assert requests[5:7] == [(name, 1) for name in ADDING]
    [(first, _), held, (second, _), end] = requests[7:]
    assert {first, second} == PARTS
    assert (held, end) == (("EndTxn", 0), ("EndTxn", 1))
    assert proxy.late.answers == [0], "the scripted broker accepts everything"


async def test_a_request_of_a_shared_id_is_delivered_once_the_id_is_given_up(
    proxy: KafkaProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_proxy, "GIVEN_UP_S", 0.0)
    proxy.hold(1.0, First())
    await commits(proxy, 1, transactional_id="orders-shared-0")
    assert (proxy.late.held, proxy.late.answers) == (1, [])
    await ended(proxy, "orders-shared-0")
    await until(lambda: proxy.late.answers == [0])


async def ended(proxy: KafkaProxy, transactional_id: str) -> None:
    """Initialise an id, as a worker does that gives it up."""
    producer = PartitionProducer(partition=None, bootstrap_servers=proxy.address, transactional_id=transactional_id)
    await producer.initialise()
    await producer.stop()


async def test_transactions_of_another_system_are_counted_and_held_apart(proxy: KafkaProxy) -> None:
    proxy.hold(0.0, Always(), ours="orders-", share_beside=1.0)
    await commits(proxy, 3)
    await commits(proxy, 2, transactional_id="others-0")
    assert (proxy.late.seen, proxy.late.held, proxy.late.answers) == (3, 0, [])
    assert (proxy.beside.seen, proxy.beside.held, proxy.beside.answers) == (2, 2, [0])


async def test_healing_lets_the_transactions_of_another_system_pass(proxy: KafkaProxy) -> None:
    proxy.hold(1.0, Always(), ours="orders-", share_beside=1.0)
    proxy.heal()
    await commits(proxy, 1, transactional_id="others-0")
    assert (proxy.beside.seen, proxy.beside.held) == (1, 0)


class First(random.Random):
    """Holds the first request only, and delivers it as early as possible."""

    def __init__(self) -> None:
        super().__init__(0)
        self._asked = 0

    def random(self) -> float:
        """Return 0.0 once, then 1.0."""
        self._asked += 1
        return 0.0 if self._asked == 1 else 1.0

    def choice(self, seq: Any) -> Any:
        """Return the first element."""
        return seq[0]


class Always(First):
    """Holds every request that has a share, and delivers it as early as possible."""

    def random(self) -> float:
        """Return 0.0."""
        return 0.0


@pytest.mark.parametrize(
    ("key", "version", "body", "expected"),
    [
        (END_TXN, 0, b"\x00\x08orders-0" + bytes(11), "orders-0"),
        (END_TXN, 3, b"\x00\x09orders-0" + bytes(12), "orders-0"),
        (PRODUCE, 7, b"\x00\x08orders-0" + bytes(6), "orders-0"),
        (PRODUCE, 7, b"\xff\xff" + bytes(6), None),
        (3, 1, b"\x00\x08orders-0", None),
    ],
    ids=["EndTxn", "EndTxn with compact texts", "Produce", "Produce without a transaction", "Metadata"],
)
def test_requests_of_transactions_are_told_from_others(
    key: int, version: int, body: bytes, expected: str | None
) -> None:
    head = struct.pack(">hhih", key, version, 1, 6) + b"client"
    request = parse(struct.pack(">i", len(head) + len(body)) + head + body)
    assert (request.transactional_id if request else None) == expected
