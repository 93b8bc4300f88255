"""Goal: of a turn's rows the newest of each id is written, and what is counted is what was committed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agents.lookups import LookupProcessor
from streams.model.change import Malformed, change_decoder
from streams.model.lookup import CUSTOMER, PAYMENT_METHOD, LookupEntry, id_of
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.turn import Turn
from streams.runtime.partition.view import StatelessPartitionView
from streams.runtime.state.codec import STATELESS
from streams.runtime.testing import Consumed
from tests.support.builders import as_json, payload

PARTITION = StatelessPartitionView(2)


@pytest.fixture
def processor() -> LookupProcessor:
    return LookupProcessor("shop.lookups")


def turn_of(*entries: LookupEntry) -> Turn:
    turn = Turn(lambda key: None, STATELESS, lambda record, reason: OutputRecord("dead", None, None))
    turn.outcomes = list(entries)
    return turn


def row(id_: str, columns: dict[str, Any] | None, kind: str = CUSTOMER) -> LookupEntry:
    return LookupEntry(kind, id_, columns)


async def test_the_newest_of_each_id_is_written(processor: LookupProcessor) -> None:
    turn = turn_of(row("1", {"id": 1, "tier": "a"}), row("2", {"id": 2}), row("1", {"id": 1, "tier": "b"}))
    assert await processor.publish(turn, PARTITION) == [
        OutputRecord(CUSTOMER, b"1", b'{"id":1,"tier":"b"}'),
        OutputRecord(CUSTOMER, b"2", b'{"id":2}'),
    ]


async def test_a_deletion_is_undone_by_what_comes_after_it_only(processor: LookupProcessor) -> None:
    turn = turn_of(row("1", {"id": 1}), row("1", None), row("2", None), row("2", {"id": 2}))
    written = {record.key: record.value for record in await processor.publish(turn, PARTITION)}
    assert written == {b"1": None, b"2": b'{"id":2}'}


async def test_equal_ids_of_two_kinds_are_two_look_ups(processor: LookupProcessor) -> None:
    turn = turn_of(row("1", {"id": 1}), row("1", {"id": 1}, PAYMENT_METHOD))
    assert [record.topic for record in await processor.publish(turn, PARTITION)] == [CUSTOMER, PAYMENT_METHOD]


@pytest.mark.parametrize("value", [2**64, -(2**63), 1.5, "ü\u2028\0", None, [1, {"a": None}]])
async def test_a_value_comes_out_as_the_source_had_it(processor: LookupProcessor, value: Any) -> None:
    columns = msgspec.json.decode(msgspec.json.encode({"id": 1, "column": value}))
    [record] = await processor.publish(turn_of(row("1", columns)), PARTITION)
    assert msgspec.json.decode(record.value or b"") == {"id": 1, "column": value}


async def test_only_a_commit_counts(processor: LookupProcessor) -> None:
    turn = turn_of(row("1", {"id": 1}), row("2", None), row("3", None))
    await processor.publish(turn, PARTITION)
    assert processor.counts == {"written": 0, "deleted": 0}
    processor.committed(turn, PARTITION)
    assert processor.counts == {"written": 1, "deleted": 2}


def test_a_dead_letter_names_the_application(processor: LookupProcessor) -> None:
    letter = processor.dead_letter(Consumed("shop.customers", 2, 17, b"k", b"{"), "no JSON")
    assert (letter.key, letter.value) == (b"k", b"{")
    headers = dict(letter.headers)
    assert (headers["app"], headers["offset"]) == (b"shop.lookups", b"17")


async def test_nothing_is_loaded_caught_up_with_or_timed(processor: LookupProcessor) -> None:
    await processor.ready()
    processor.opened(PARTITION, [])
    assert list(processor.due_timers(PARTITION)) == []


@pytest.mark.parametrize("id_", ["", "k" * 256, None, 1.5, ["k"]])
def test_an_id_that_no_entry_can_have_is_malformed(id_: object) -> None:
    decode = change_decoder(dict[str, Any], key_of=id_of)
    malformed = decode(str(id_).encode(), as_json(payload("c", after={"id": id_})))
    assert isinstance(malformed, Malformed)
    assert malformed.reason.startswith("id:")
