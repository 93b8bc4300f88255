"""Goal: a lean record says of a fetched one what the runtime and its applications read.

Method: a batch as a broker would send it, made by aiokafka's own builder.
"""

from __future__ import annotations

from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.runtime.faust.fetched import FetchedRecord, LeanRecords


def test_a_fetch_becomes_lean_records() -> None:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=10_000,
    )
    builder.append(0, 1_000, b"key", b"value", [("name", b"text")])
    builder.append(1, 1_001, None, None, [])
    records = MemoryRecords(bytes(builder.build()))
    lean = LeanRecords(TopicPartition("numbers", 3), records, None, 0, None, None, True, READ_UNCOMMITTED)
    assert list(lean) == [
        FetchedRecord("numbers", 3, 0, 1_000, b"key", b"value", (("name", b"text"),)),
        FetchedRecord("numbers", 3, 1, 1_001, None, None, ()),
    ]
