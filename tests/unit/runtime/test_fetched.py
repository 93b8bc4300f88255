"""Goal: fetched records become lean records, and no content of a record batch stops a worker or costs it its memory.

Method: batches as a broker would send them, made by aiokafka's own builder and then damaged.
"""

from __future__ import annotations

import resource
from collections import Counter

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.structs import TopicPartition

from streams.model.change import Malformed, change_decoder
from streams.model.left_out import LeftOut
from streams.model.order import OrderColumns
from streams.runtime.faust.fetched import LEFT_OUT_HEADER, FetchedRecord, FetchRules, LeanRecords
from streams.runtime.faust.record_batches import RecordBatches, parsed_records
from tests.support.wire import patched, record_batch

MIB = 1024 * 1024
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
ILL_NAMED = patched(record_batch([(b"k1", b"v1", [("ZZZZ", b"1"), ("fine", None)])], base=5), b"ZZZZ", b"\xff\xfea\xff")
NEIGHBOUR = record_batch([(b"k2", b"v2", [])], base=6)


class Read:
    """What was read of some batches, and what was counted."""

    def __init__(self, raw: bytes, *, begin: int = 0, limit: int = MIB) -> None:
        self.counts: Counter[str] = Counter()
        lean = LeanRecords(TopicPartition("t", 3), RecordBatches(raw), None, begin, None, None, True, READ_UNCOMMITTED)
        lean.rules = FetchRules(limit, self._count)
        self.records: list[FetchedRecord] = list(lean)
        self.next_offset = lean.next_fetch_offset

    def _count(self, name: str) -> None:
        self.counts[name] += 1


def test_a_fetch_becomes_lean_records() -> None:
    read = Read(record_batch([(b"key", b"value", [("name", b"text")]), (None, None, [])]))
    assert read.records == [
        FetchedRecord("t", 3, 0, 1_000, b"key", b"value", (("name", b"text"),)),
        FetchedRecord("t", 3, 1, 1_000, None, None, ()),
    ]
    assert read.next_offset == 2


def test_both_parsers_read_the_same() -> None:
    batch = record_batch(
        [(b"k" * n, None if n % 3 else b"v" * n, [("h" * n, b"x"), ("n", None)]) for n in range(150)], base=70
    )
    parsed = [FetchedRecord("t", 3, r.offset, r.timestamp, r.key, r.value, r.headers) for r in parsed_records(batch)]
    assert Read(batch, begin=75).records == parsed[5:]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_compressed_batches_are_read_like_others(codec: int) -> None:
    records = [(b"k" * n, b"v" * n * 20, [("h", b"x")]) for n in range(150)]
    assert Read(record_batch(records, codec=codec), begin=5).records == Read(record_batch(records), begin=5).records


def test_a_header_name_that_is_not_utf_8_costs_only_itself() -> None:
    read = Read(ILL_NAMED + NEIGHBOUR)
    assert read.records == [
        FetchedRecord("t", 3, 5, 1_000, b"k1", b"v1", (("\\xff\\xfea\\xff", b"1"), ("fine", None))),
        FetchedRecord("t", 3, 6, 1_000, b"k2", b"v2", ()),
    ]
    assert read.counts == {"headers_repaired": 1}


def test_what_is_read_several_times_is_counted_once() -> None:
    counts: Counter[str] = Counter()
    rules = FetchRules(MIB, lambda name: counts.update([name]))
    bomb = record_batch([(b"k", b" " * (3 * MIB), [])], base=7, codec=CODECS["zstd"])
    for begin, partition in ((5, 3), (7, 3), (5, 3), (5, 4)):
        tp = TopicPartition("t", partition)
        raw = RecordBatches(ILL_NAMED + NEIGHBOUR + bomb)
        lean = LeanRecords(tp, raw, None, begin, None, None, True, READ_UNCOMMITTED)
        lean.rules = rules
        assert list(lean)[-1].offset == 7
    assert counts == {"headers_repaired": 2, "batches_left_out": 2}


def test_headers_with_a_wrong_structure_cost_only_themselves() -> None:
    batch = record_batch([(b"k1", b"v1", [("ab", b"1"), ("ZZZZ", b"1")])], base=5)
    read = Read(patched(batch, b"\x08ZZZZ", b"\x7eZZZZ") + NEIGHBOUR)
    assert [(record.key, record.headers) for record in read.records] == [(b"k1", (("ab", b"1"),)), (b"k2", ())]
    assert read.counts == {"headers_repaired": 1}


def test_a_record_with_a_wrong_structure_is_left_out_and_its_neighbours_are_read() -> None:
    batch = record_batch([(b"k1", b"value", []), (b"k3", b"v3", [])], base=5)
    bad, good = Read(patched(batch, b"\x0avalue", b"\x7evalue")).records
    assert (bad.offset, bad.key, bad.value, bad.headers[0][0]) == (5, None, b"", LEFT_OUT_HEADER)
    assert isinstance(bad.value, LeftOut)
    assert good == FetchedRecord("t", 3, 6, 1_000, b"k3", b"v3", ())


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_batch_that_grows_beyond_the_limit_is_one_record_that_is_left_out(codec: int) -> None:
    bomb = record_batch([(b"k", b" " * (3 * MIB), []), (b"l", b"", [])], base=4, codec=codec)
    read = Read(bomb + NEIGHBOUR)
    left_out, neighbour = read.records
    assert (left_out.offset, left_out.key, neighbour.offset) == (5, None, 6)
    assert isinstance(left_out.value, LeftOut)
    assert "4 to 5" in left_out.value.reason
    assert left_out.value.size == f"more than {MIB}"
    assert read.counts == {"batches_left_out": 1}
    assert [r.value for r in Read(bomb, limit=4 * MIB).records] == [b" " * (3 * MIB), b""]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_batch_that_cannot_be_decompressed_is_one_record_that_is_left_out(codec: int) -> None:
    batch = record_batch([(b"k", b"some value, some value", [])], base=5, codec=codec)
    damaged = patched(batch, batch[61:], b"\xff" * len(batch[61:]))
    left_out, neighbour = Read(damaged + NEIGHBOUR).records
    assert isinstance(left_out.value, LeftOut)
    assert neighbour.key == b"k2"


def test_memory_stays_within_the_limit() -> None:
    bomb = record_batch([(b"k", b" " * (200 * MIB), [])], codec=CODECS["lz4"])
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert isinstance(Read(bomb, limit=8 * MIB).records[0].value, LeftOut)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


def test_the_records_of_a_batch_are_made_one_at_a_time() -> None:
    raw = RecordBatches(record_batch([(None, b"", [])] * 200, codec=CODECS["zstd"]))
    lean = LeanRecords(TopicPartition("t", 3), raw, None, 0, None, None, True, READ_UNCOMMITTED)
    assert next(lean).offset == 0
    assert lean.next_fetch_offset == 1
    assert len(list(lean)) == 199


def test_a_value_that_was_left_out_is_malformed_and_never_a_tombstone() -> None:
    decode = change_decoder(OrderColumns, key_of=lambda row: row.id)
    assert decode(b"k", LeftOut("too large", "9")) == Malformed("too large")
