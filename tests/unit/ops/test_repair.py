"""Goal: a repair appends the database's rows, newer than what the topic knows and older than every later change.

Method: envelopes as Debezium writes them, in topics that are lists; the database is a dictionary. The real one runs in
tests/lake/commands/test_reconcile.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from config.dataset import load_definition
from config.engines.base import Connection
from config.engines.mysql import MySQL
from ops.connector import repair, topic_rows
from ops.connector.repair import _as_captured, reread
from ops.connector.sweep import deletion
from ops.connector.topic_rows import ChangeRecord
from stack.errors import StackError
from streams.model.change import Change, change_decoder
from streams.model.order import OrderColumns, OrderDetailColumns
from streams.model.position import SWEPT_ROW
from tests.support.builders import created, deleted, detail_row, order_row, position

DEFINITION = load_definition("project_db")
ORDERS, DETAILS = DEFINITION.table("orders"), DEFINITION.table("order_details")
ORDERS_TOPIC, DETAILS_TOPIC = "mysql.project_db.orders", "mysql.project_db.order_details"
ROW = {
    "id": "a",
    "customer_id": 9,
    "store_id": 1,
    "payment_method_id": 3,
    "num_products": 2,
    "timestamp": datetime(2026, 1, 2, 3, 4, 5, 6),
}


class Locking(MySQL):
    """An engine whose connection needs no server."""

    @contextmanager
    def locking_reads(self, connection: Connection) -> Iterator[None]:
        yield


Topics = dict[str, list[tuple[bytes, bytes]]]


def decoded(record: ChangeRecord, row: type = OrderColumns, key: str = "id") -> Change[Any]:
    change = change_decoder(row, key_of=lambda columns: str(getattr(columns, key)))(record.key, record.value)
    assert type(change) is Change, change
    return change


def repaired(
    monkeypatch: pytest.MonkeyPatch, topics: Topics, source: dict[str, dict[Any, dict[str, Any]]]
) -> tuple[list[repair.Repaired], list[tuple[str, ChangeRecord]]]:
    """Repair the order `a`; return the numbers and the appended records."""
    appended: list[tuple[str, ChangeRecord]] = []

    class Topic:
        def __init__(self, _: str, topic: str, __: str) -> None:
            self._records = topics.get(topic, [])

        def __enter__(self) -> Topic:
            return self

        def __exit__(self, *_: object) -> None: ...

        def visit_to_end(self, visit: Callable[[bytes, bytes], None]) -> None:
            for record in self._records:
                visit(*record)

    monkeypatch.setattr(topic_rows, "TopicReader", Topic)
    monkeypatch.setattr(repair, "connected", lambda *_: nullcontext(Connection(Locking(), None)))
    monkeypatch.setattr(repair, "_source_rows", lambda _, table, __: source.get(table.name, {}))
    monkeypatch.setattr(repair, "database_time_ms", lambda _: 5_000)
    monkeypatch.setattr(repair, "existing", lambda *_: iter(()))
    monkeypatch.setattr(repair, "append", lambda _, __, records, **___: appended.extend(records))
    database: Any = None
    return repair.repair(database, "nowhere:1", DEFINITION, ["a"]), appended


def test_a_row_that_is_read_again_follows_its_newest_change_and_precedes_every_later_one() -> None:
    known = ChangeRecord(b"a", created(order_row("a"), position(20)))
    again = decoded(reread(known, ROW, ORDERS, at_ms=5_000))
    later = decoded(ChangeRecord(b"a", created(order_row("a"), position(39))))  # no event is shorter than 19 bytes
    assert decoded(known).position < again.position < later.position
    assert decoded(deletion(known, 5_000)).position < again.position, "also if a sweep has deleted the row"
    assert (again.row.customer_id, again.at_ms, again.deleted) == (9, 5_000, False)
    assert again.row.timestamp == decoded(known).row.timestamp


def test_a_row_can_be_repaired_again() -> None:
    first = reread(ChangeRecord(b"a", created(order_row("a"), position(20))), ROW, ORDERS, at_ms=5_000)
    assert decoded(first).position < decoded(reread(first, ROW, ORDERS, at_ms=6_000)).position
    swept = decoded(deletion(first, 6_000))
    assert (swept.position[3], decoded(first).position < swept.position) == (SWEPT_ROW, True)


def test_an_order_gets_its_rows_and_loses_those_that_the_database_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = {
        ORDERS_TOPIC: [(b"a", created(order_row("a"), position(10))), (b"b", created(order_row("b"), position(90)))],
        DETAILS_TOPIC: [
            (b"a", created(detail_row("a", 1), position(11))),
            (b"a", created(detail_row("a", 2), position(12))),
            (b"b", created(detail_row("b", 1), position(91))),
        ],
    }
    line = {"order_id": "a", "product_id": 1, "quantity": 7}
    counts, records = repaired(monkeypatch, topics, {"orders": {("a",): ROW}, "order_details": {("a", 1): line}})
    assert [(each.table, each.rows, each.deletions) for each in counts] == [("order_details", 1, 1), ("orders", 1, 0)]
    lines = [decoded(record, OrderDetailColumns, "order_id") for topic, record in records if topic == DETAILS_TOPIC]
    assert [(each.row.product_id, each.deleted, each.position[2]) for each in lines] == [(1, False, 12), (2, True, 12)]
    [head] = [decoded(record) for topic, record in records if topic == ORDERS_TOPIC]
    assert head.position[2] == 11


def test_a_row_without_a_record_follows_the_newest_of_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = {ORDERS_TOPIC: [(b"b", created(order_row("b"), position(90)))]}
    _, [(_, record)] = repaired(monkeypatch, topics, {"orders": {("a",): ROW}})
    assert (record.key, decoded(record).position[2]) == (b"a", 91)


def test_a_row_that_was_deleted_in_the_topic_only_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [(b"a", created(order_row("a"), position(10))), (b"a", deleted(order_row("a"), position(20)))]
    _, [(_, record)] = repaired(monkeypatch, {ORDERS_TOPIC: before}, {"orders": {("a",): ROW}})
    assert (decoded(record).deleted, decoded(record).position[2]) == (False, 21)


def test_an_empty_topic_has_no_position_to_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="has no records"):
        repaired(monkeypatch, {}, {"orders": {("a",): ROW}})


def test_an_order_that_neither_side_has_appends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, records = repaired(monkeypatch, {}, {})
    assert ([each.rows + each.deletions for each in counts], records) == ([0, 0], [])


@pytest.mark.parametrize(
    ("value", "captured"),
    [
        (None, None),
        (7, 7),
        ("é", "é"),
        (datetime(2026, 1, 2), "2026-01-02T00:00:00.000000Z"),
        (datetime(2026, 1, 2).date(), "2026-01-02Z"),
        (Decimal("1E+2"), "100"),
        (b"\x00\xff", "00ff"),
    ],
)
def test_values_have_the_connectors_form(value: Any, captured: Any) -> None:
    assert _as_captured(value) == captured
    assert msgspec.json.decode(msgspec.json.encode(captured)) == captured
