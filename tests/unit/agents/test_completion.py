"""What follows once an order is complete or amended: look up, encode, address, count.

Method: `OrderCompletion` with a look-up that learns payment methods only while it is waited for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import cast

import msgspec
import pytest

from agents.completion import OrderCompletion, Published
from agents.dead_letters import LARGEST_KEPT_BYTES, LARGEST_KEPT_KEY_BYTES
from agents.guard.guard import NoGuard
from agents.order_log import OrderLog
from agents.order_timers import OrderTimers
from streams.model.left_out import LeftOut
from streams.model.order import Emission, OrderState, fold_order, fold_order_detail
from streams.model.published import AmendedOrder, CompleteOrder, OrderStatus, PaymentMethod, Product, SourcePosition
from streams.runtime.partition.batch import BatchOwner, OutputRecord, RecordBatch
from streams.runtime.partition.turn import Turn
from streams.runtime.testing import Consumed, MemoryPartition
from tables.order_cache import NoCache
from tables.order_state import CODEC
from tests.support.builders import ORDERED_AT, detail_change, order_change

VISA = PaymentMethod(3, "Visa", "First Bank")
WAIT_S = 2.5


class Lookup:
    """Payment methods that are known, and those that become known during a wait.

    Attributes:
        known: methods by id.
        waits: ids and seconds of every wait.
    """

    def __init__(self, *known: PaymentMethod, learns: Sequence[PaymentMethod] = ()) -> None:
        self.known = {method.id: method for method in known}
        self._learns = learns
        self.waits: list[tuple[set[int], float]] = []
        self.was_ready = False

    def get(self, id_: int, /) -> PaymentMethod | None:
        return self.known.get(id_)

    async def ready(self) -> None:
        self.was_ready = True

    async def wait_for(self, ids: set[int], timeout_s: float, /) -> None:
        self.waits.append((set(ids), timeout_s))
        self.known |= {method.id: method for method in self._learns}


class CancelledLookup(Lookup):
    """A look-up whose wait is cancelled, as at a rebalance."""

    async def wait_for(self, ids: set[int], timeout_s: float, /) -> None:
        await super().wait_for(ids, timeout_s)
        raise asyncio.CancelledError


def completion_with(lookup: Lookup) -> OrderCompletion:
    return OrderCompletion(
        payment_methods=lookup,
        payment_method_wait_s=WAIT_S,
        guard=NoGuard(),
        cache=NoCache(),
        timers=OrderTimers(incomplete_after_s=0, retention_s=0),
        order_log=OrderLog(enabled=False),
        app_id="millrace-orders",
    )


def complete(order_id: str = "order-1", payment_method_id: int | None = 3) -> CompleteOrder:
    method = None if payment_method_id is None else PaymentMethod(payment_method_id)
    return CompleteOrder(order_id, 11, 22, method, 1, [Product(101, 1)], ORDERED_AT, SourcePosition(0, 3, 10, 0))


def amended(order_id: str = "order-1", payment_method_id: int = 3) -> AmendedOrder:
    method, place = PaymentMethod(payment_method_id), SourcePosition(0, 3, 20, 0)
    return AmendedOrder(order_id, OrderStatus.DELETED, 1, 11, 22, method, 1, [], ORDERED_AT, place)


def turn_of(completion: OrderCompletion, *outcomes: Published) -> Turn:
    """A turn whose folds have answered these."""
    turn = Turn(lambda key: None, CODEC, completion.dead_letter)
    for outcome in outcomes:
        turn.states[outcome.order_id.encode()] = OrderState(emission=Emission.EMITTED)
    turn.outcomes, turn.caused_at_ms = list(outcomes), [0] * len(outcomes)
    return turn


def published(completion: OrderCompletion, *outcomes: Published) -> list[OutputRecord]:
    turn, partition = turn_of(completion, *outcomes), MemoryPartition(0, {}, CODEC)
    records = asyncio.run(completion.publish(turn, partition))
    completion.committed(turn, partition)
    return records


def value(record: OutputRecord) -> CompleteOrder:
    assert record.value is not None
    return msgspec.json.decode(record.value, type=CompleteOrder)


# -- records ----------------------------------------------------------------------------------------------------------


def test_a_complete_order_goes_to_order_final_under_its_id() -> None:
    (record,) = published(completion_with(Lookup(VISA)), complete("order-ü"))
    assert (record.topic, record.key, record.headers) == ("order_final", "order-ü".encode(), ())
    assert value(record).order_id == "order-ü"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("traceparent", b"00-1")], (("traceparent", b"00-1"),)),
        ([("tracestate", b"x"), ("traceparent", None)], ()),
        ([("traceparent", b"0" * 129)], ()),
        ([], ()),
    ],
)
def test_an_output_belongs_to_the_trace_of_the_record_that_led_to_it(
    headers: list[tuple[str, bytes | None]], expected: tuple[tuple[str, bytes], ...]
) -> None:
    completion = completion_with(Lookup(VISA))
    turn = Turn(lambda key: None, CODEC, completion.dead_letter)
    records = [Consumed("orders", 0, offset, b"order-1", b"", 0, headers) for offset in range(2)]
    batch = RecordBatch("orders", 0, 0, records, cast(BatchOwner, None))
    batch.changes = [order_change(10, num_products=1), order_change(20, num_products=1, customer_id=7)]
    lines = RecordBatch("lines", 0, 0, [Consumed("lines", 0, 0, b"order-1", b"")], cast(BatchOwner, None))
    lines.changes = [detail_change(10)]
    turn.fold([(lines, fold_order_detail), (batch, fold_order)])
    records_out = asyncio.run(completion.publish(turn, MemoryPartition(0, {}, CODEC)))
    assert [record.topic for record in records_out] == ["order_final", "order_amended"]
    assert [record.headers for record in records_out] == [expected, expected]


def test_an_amended_order_goes_to_order_amended_under_its_id() -> None:
    (record,) = published(completion_with(Lookup(VISA)), amended())
    assert (record.topic, record.key) == ("order_amended", b"order-1")
    assert msgspec.json.decode(record.value or b"")["status"] == "deleted"


def test_records_keep_the_order_of_what_the_folds_answered() -> None:
    records = published(completion_with(Lookup(VISA)), complete("a"), amended("a"), complete("b"))
    assert [(record.topic, record.key) for record in records] == [
        ("order_final", b"a"),
        ("order_amended", b"a"),
        ("order_final", b"b"),
    ]


def test_nothing_to_publish_is_nothing() -> None:
    lookup = Lookup()
    assert published(completion_with(lookup)) == []
    assert lookup.waits == []


# -- payment methods --------------------------------------------------------------------------------------------------


def test_aknown_payment_method_goes_out_with_name_and_bank_without_a_wait() -> None:
    lookup = Lookup(VISA)
    (record,) = published(completion_with(lookup), complete())
    assert (value(record).payment_method, lookup.waits) == (VISA, [])


def test_an_unknown_payment_method_is_waited_for_as_long_as_set() -> None:
    lookup = Lookup(learns=[VISA])
    completion = completion_with(lookup)
    (record,) = published(completion, complete())
    assert (value(record).payment_method, lookup.waits) == (VISA, [({3}, WAIT_S)])
    assert completion.counts["payment_methods_unknown"] == 0


def test_one_that_stays_unknown_goes_out_with_its_id_and_no_name_and_is_counted() -> None:
    completion = completion_with(Lookup())
    (record,) = published(completion, complete(payment_method_id=9))
    assert value(record).payment_method == PaymentMethod(9, None, None)
    assert completion.counts == Counter(completed=1, payment_methods_unknown=1)


def test_all_unknown_ones_of_a_batch_are_waited_for_at_once() -> None:
    lookup = Lookup(VISA)
    published(completion_with(lookup), complete("a", 8), complete("b", 9), complete("c", 3), amended("d", 9))
    assert lookup.waits == [({8, 9}, WAIT_S)]


def test_one_that_was_waited_for_in_vain_holds_up_no_later_batch() -> None:
    lookup = Lookup()
    completion = completion_with(lookup)
    for order_id in ("a", "b", "c"):
        published(completion, complete(order_id, 9))
    assert len(lookup.waits) == 1
    assert completion.counts["payment_methods_unknown"] == 3


def test_one_that_becomesknown_later_goes_out_with_its_name_from_then_on() -> None:
    lookup = Lookup(learns=[])
    completion = completion_with(lookup)
    published(completion, complete("a"))
    lookup.known[3] = VISA
    (record,) = published(completion, complete("b"))
    assert value(record).payment_method == VISA


def test_an_order_without_payment_method_waits_for_none_and_is_not_counted() -> None:
    lookup = Lookup()
    completion = completion_with(lookup)
    (record,) = published(completion, complete(payment_method_id=None))
    assert (value(record).payment_method, lookup.waits) == (None, [])
    assert completion.counts["payment_methods_unknown"] == 0


def test_a_cancelled_wait_leaves_no_trace() -> None:
    lookup = CancelledLookup()
    completion = completion_with(lookup)
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(completion.publish(turn_of(completion, complete()), MemoryPartition(0, {}, CODEC)))
    assert len(lookup.waits) == 2
    assert not any(completion.counts.values())


def test_a_partition_is_ready_once_the_look_up_is() -> None:
    lookup = Lookup()
    asyncio.run(completion_with(lookup).ready())
    assert lookup.was_ready


# -- counts -----------------------------------------------------------------------------------------------------------


def test_only_what_was_committed_is_counted() -> None:
    completion = completion_with(Lookup(VISA))
    turn, partition = turn_of(completion, complete(), amended(), amended()), MemoryPartition(0, {}, CODEC)
    asyncio.run(completion.publish(turn, partition))
    assert completion.counts["completed"] == 0
    completion.committed(turn, partition)
    assert (completion.counts["completed"], completion.counts["amended"]) == (1, 2)


# -- dead letters -----------------------------------------------------------------------------------------------------


def test_a_dead_letter_keeps_the_raw_record_its_origin_and_the_reason() -> None:
    record = Consumed("mysql.project_db.orders", 2, 41, b"\xffkey", b"not json", timestamp=1_767_323_045_000)
    letter = completion_with(Lookup()).dead_letter(record, "JSON is malformed")
    assert (letter.topic, letter.key, letter.value) == ("dead_letters", b"\xffkey", b"not json")
    assert dict(letter.headers) == {
        "reason": b"JSON is malformed",
        "app": b"millrace-orders",
        "topic": b"mysql.project_db.orders",
        "partition": b"2",
        "offset": b"41",
        "timestamp": b"1767323045000",
    }


@pytest.mark.parametrize("key", [b"k", None])
def test_a_dead_letter_of_a_value_that_is_too_large_can_always_be_written(key: bytes | None) -> None:
    large = Consumed("t", 0, 7, key, b" " * (LARGEST_KEPT_BYTES + 1))
    letter = completion_with(Lookup()).dead_letter(large, "value: is empty or truncated JSON")
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (key, None if key else b"")
    assert (headers["left_out"], headers["offset"]) == (b"%d" % (LARGEST_KEPT_BYTES + 1), b"7")
    assert b"was left out" in headers["reason"]


def test_a_dead_letter_of_a_batch_that_was_not_read_names_its_offset_and_the_reason() -> None:
    record = Consumed("t", 0, 7, None, LeftOut("the record batch at offset 7 is too large", "more than 9"))
    letter = completion_with(Lookup()).dead_letter(record, "the record batch at offset 7 is too large")
    headers = dict(letter.headers)
    assert (letter.key, letter.value, headers["left_out"], headers["offset"]) == (None, b"", b"more than 9", b"7")
    assert headers["reason"] == b"the record batch at offset 7 is too large"


def test_a_dead_letter_does_not_keep_a_huge_key() -> None:
    record = Consumed("t", 0, 7, b"k" * (LARGEST_KEPT_KEY_BYTES + 1), b" " * (LARGEST_KEPT_BYTES + 1))
    letter = completion_with(Lookup()).dead_letter(record, "id: is too long")
    assert (letter.key, letter.value) == (None, b"")
    assert dict(letter.headers)["key_left_out"] == b"%d" % (LARGEST_KEPT_KEY_BYTES + 1)


@pytest.mark.parametrize(("key", "raw"), [(None, b"x"), (b"k", None), (None, None), (b"", b"")])
def test_a_dead_letter_without_key_or_value_stays_without(key: bytes | None, raw: bytes | None) -> None:
    letter = completion_with(Lookup()).dead_letter(Consumed("t", 0, 0, key, raw), "reason")
    assert (letter.key, letter.value) == (key, raw)
