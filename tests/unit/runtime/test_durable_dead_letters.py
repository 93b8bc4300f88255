"""Goal: a dead letter is durable together with the offset behind it, or not at all.

Method: real partitions in memory, with commits that fail before or after they are written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError

from agents.completion import OrderCompletion
from agents.guard.guard import NoGuard
from agents.order_log import OrderLog
from agents.order_timers import OrderTimers
from streams.model.change import change_decoder
from streams.model.order import OrderColumns, fold_order
from streams.runtime.faust.table import TransactionalTable
from streams.runtime.partition.batch import OutputRecord, RecordBatch
from streams.runtime.partition.host import PolledTask
from streams.runtime.testing import Consumed
from streams.topics import DEAD_LETTERS
from tables.order_cache import NoCache
from tables.order_state import CODEC
from tests.support.builders import (
    created,
    order_row,
    position,
)
from tests.support.fakes import KnownPaymentMethods
from tests.unit.runtime.partition_testbed import MemoryTable, PartitionTestbed

KEY = b"order-1"
decode_order = change_decoder(OrderColumns, key_of=lambda row: row.id)


class OrderBench(PartitionTestbed):
    """A partition with the real decoder, fold and dead letters; the records are of the topic `numbers`."""

    def __init__(self, folder: Path, values: Sequence[bytes | None]) -> None:
        super().__init__(folder, [0] * len(values))
        self.values = values
        self.fold = fold_order
        processor = OrderCompletion(
            payment_methods=KnownPaymentMethods(),
            payment_method_wait_s=0.0,
            guard=NoGuard(),
            cache=NoCache(),
            timers=OrderTimers(incomplete_after_s=0, retention_s=0),
            order_log=OrderLog(enabled=False),
            app_id="test",
        )
        table = cast(TransactionalTable, OrderTable(folder))
        self.pipeline = dataclasses.replace(self.pipeline, processor=processor, table=table)
        self.partition = self.new_partition()
        self.commits: list[tuple[list[OutputRecord], dict[str, int]]] = []
        append = self.log.append

        def recorded(records: Sequence[OutputRecord], offsets: Mapping[str, int]) -> dict[str, int]:
            self.commits.append((list(records), dict(offsets)))
            return append(records, offsets)

        self.log.append = recorded  # type: ignore[method-assign]

    def batch(self, first: int, rows: list[int], task: PolledTask | None = None) -> RecordBatch:
        values = self.values[first : first + len(rows)]
        records = [Consumed("numbers", 0, first + i, KEY, value) for i, value in enumerate(values)]
        batch = RecordBatch("numbers", 0, first, records, task or self.partition.task)
        batch.changes = [decode_order(KEY, value) for value in values]
        return batch

    def dead(self) -> list[tuple[int, bytes | None]]:
        """Origin offset and value of every dead letter that is durable."""
        records = self.log.topics.get(DEAD_LETTERS, [])
        return [(int(dict(record.headers)["offset"]), record.value) for record in records]


class OrderTable(MemoryTable):
    """The table of order states."""

    codec = cast(Any, CODEC)


BAD = [b"{", b"\xff", created(order_row(num_products=0)), created(order_row(timestamp=1))]
MIXED = [BAD[0], created(order_row(), position(1)), BAD[1], None, BAD[2], created(order_row(), position(2)), BAD[3]]
EXPECTED = [(offset, value) for offset, value in enumerate(MIXED) if value in BAD]


@pytest.mark.parametrize("written", [False, True], ids=["before the write", "after it, answer lost"])
@pytest.mark.parametrize("turn", range(4))
async def test_a_dead_letter_is_durable_with_the_offset_behind_it_or_not_at_all(
    tmp_path: Path, turn: int, written: bool
) -> None:
    testbed = OrderBench(tmp_path, MIXED)
    testbed.host.turn_max_records = 2
    testbed.host.failures += [*[cast(Any, (None, True))] * turn, (KafkaError("lost"), written)]
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert testbed.dead() == EXPECTED, "one for one, in order"
    begin = 0
    for records, offsets in testbed.commits:
        passed = range(begin, offsets.get("numbers", begin))
        begin = passed.stop
        letters = [int(dict(r.headers)["offset"]) for r in records if r.topic == DEAD_LETTERS]
        assert letters == [offset for offset, _ in EXPECTED if offset in passed], "in one commit with their offsets"
    assert begin == len(MIXED)
    assert testbed.crashed == []


async def test_bad_records_alone_move_the_offset_on(tmp_path: Path) -> None:
    testbed = OrderBench(tmp_path, BAD)
    testbed.start()
    await testbed.processed()
    await testbed.stop()
    assert [value for _, value in testbed.dead()] == BAD
    assert list(testbed.log.topics) == ["changelog", DEAD_LETTERS]
    assert len(testbed.log.topics["changelog"]) == 1, "the incarnation only: no state changed"
