"""Goal: what is archived is what Kafka holds, byte for byte.

Method: records drawn by Hypothesis go through Parquet and back.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from streams.runtime.testing import Consumed
from tables.archive.rows import SCHEMA, Rows

TOPIC = "shop.orders"
Headers = st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=3).map(tuple)


@st.composite
def records(draw: st.DrawFn) -> list[Consumed]:
    offsets = sorted(draw(st.sets(st.integers(0, 2**63 - 1), min_size=1, max_size=8)))
    content = st.none() | st.binary(max_size=20)
    times = st.integers(-1, 253_402_300_799_999)
    return [Consumed(TOPIC, 3, o, draw(content), draw(content), draw(times), draw(Headers)) for o in offsets]


def read(rows: Rows) -> list[dict[str, Any]]:
    """The rows of the file, times as numbers."""
    table = pq.read_table(io.BytesIO(rows.file()()))
    assert table.schema.equals(SCHEMA)
    milliseconds = table.column("timestamp").cast("int64").to_pylist()
    return [row | {"timestamp": ms} for row, ms in zip(table.to_pylist(), milliseconds, strict=True)]


def expected(kept: list[Consumed]) -> list[dict[str, Any]]:
    return [
        {
            "topic": r.topic,
            "partition": r.partition,
            "offset": r.offset,
            "timestamp": None if r.timestamp < 0 else r.timestamp,
            "key": r.key,
            "value": r.value,
            "headers": [{"key": key, "value": value} for key, value in r.headers],
        }
        for r in kept
    ]


@given(records(), st.data())
def test_a_file_holds_every_record_as_it_came(all_: list[Consumed], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(all_)))
    rows = Rows()
    for part in (all_[:cut], all_[cut:]):
        if part:
            rows.add(part)
    assert (rows.records, rows.last_offset) == (len(all_), all_[-1].offset)
    assert read(rows) == expected(all_)


@given(records(), st.data())
def test_records_up_to_an_offset_are_let_go(all_: list[Consumed], data: st.DataObject) -> None:
    last = data.draw(st.sampled_from([r.offset for r in all_])) + data.draw(st.integers(-1, 1))
    rows = Rows()
    rows.add(all_[:3])
    if all_[3:]:
        rows.add(all_[3:])
    rows.drop_through(last)
    kept = [r for r in all_ if r.offset > last]
    assert (rows.records, bool(rows)) == (len(kept), bool(kept))
    assert (rows.size_bytes > 0) == bool(kept)
    if kept:
        assert read(rows) == expected(kept)


def test_a_file_is_what_was_there_when_it_was_asked_for() -> None:
    rows = Rows()
    rows.add([Consumed(TOPIC, 3, 7, b"k", b"v")])
    file = rows.file()
    rows.drop_through(7)
    rows.add([Consumed(TOPIC, 3, 8, b"k", b"v")])
    assert pq.read_table(io.BytesIO(file())).column("offset").to_pylist() == [7]


def test_large_values_and_times_are_kept() -> None:
    value = bytes(10_000_000)
    rows = Rows()
    rows.add([Consumed(TOPIC, 3, i, None, value, 1_700_000_000_123) for i in range(3)])
    assert rows.size_bytes > 30_000_000
    table = pq.read_table(io.BytesIO(rows.file()()))
    assert table.column("value").to_pylist() == [value] * 3
    assert table.column("timestamp")[0].as_py() == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
