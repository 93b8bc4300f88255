"""Goal: a sweep deletes exactly the rows that the source lacks, and every later change of them takes precedence.

Method: envelopes as Debezium writes them, in a topic that is a list; the real comparison runs in
tests/lake/commands/test_reconcile.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import Column, Definition, LogicalType, Table
from ops.connector import sweep as sweeping
from ops.connector import topic_rows
from ops.connector.sweep import SweepRefusedError, SweptTable, deletion, require_comparable_key
from ops.connector.topic_rows import ChangeRecord, SeenRows, TopicRows
from stack.errors import StackError
from streams.model.change import Change, change_decoder
from streams.model.order import OrderColumns
from streams.model.position import SWEPT_ROW
from streams.topics import SWEPT_HEADER
from tests.support.builders import as_json, created, deleted, order_row, position, updated, wrap

ORDERS = load_definition("project_db").table("orders")
UPDATED = updated(order_row("a"), order_row("a", customer_id=9), position(20))

Records = list[tuple[bytes | None, bytes | None]]


def wrapped(value: bytes) -> bytes:
    """The envelope with the JSON converter's schema."""
    return as_json(wrap(msgspec.json.decode(value)))


class Topic:
    """A topic in memory, with the interface of `TopicReader`."""

    records: ClassVar[Records] = []

    def __init__(self, *_: Any) -> None: ...
    def __enter__(self) -> Topic:
        return self

    def __exit__(self, *_: object) -> None: ...

    def visit_to_end(self, visit: Callable[[bytes | None, bytes | None], None]) -> None:
        for record in self.records:
            visit(*record)


def rows_of(monkeypatch: pytest.MonkeyPatch, *records: tuple[bytes | None, bytes | None]) -> TopicRows:
    monkeypatch.setattr(topic_rows, "TopicReader", Topic)
    monkeypatch.setattr(Topic, "records", list(records))
    rows = TopicRows("nowhere:1", "orders", ORDERS)
    rows.read()
    return rows


def decoded(record: ChangeRecord) -> Change[OrderColumns]:
    change = change_decoder(OrderColumns, key_of=lambda row: row.id)(record.key, record.value)
    assert type(change) is Change, change
    return change


def test_the_newest_change_of_each_row_counts_wherever_it_is_in_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(
        monkeypatch,
        (b"a", UPDATED),
        (b"a", created(order_row("a"), position(10))),
        (b"b", created(order_row("b"), position(11))),
        (b"b", deleted(order_row("b"), position(12))),
        (b"c", None),
        (b"d", b"no JSON"),
        (b"e", wrapped(created(order_row("e"), position(13)))),
    )
    assert {key[0]: (newest.position[2], newest.deleted) for key, newest in rows.newest.items()} == {
        "a": (20, False), "b": (12, True), "e": (13, False),
    }  # fmt: skip
    found = rows.records_of({("a",): rows.newest["a",].position})
    assert found == {("a",): ChangeRecord(b"a", UPDATED)}


@pytest.mark.parametrize(("is_alive", "keys"), [(True, {("a",), ("c",)}), (False, {("a",), ("b",), ("c",)})])
def test_a_row_whose_last_record_is_a_deletion_is_seen_but_not_alive(
    monkeypatch: pytest.MonkeyPatch, is_alive: bool, keys: set[tuple[str, ...]]
) -> None:
    monkeypatch.setattr(topic_rows, "TopicReader", Topic)
    records: Records = [
        (b"a", created(order_row("a"), position(10))),
        (b"b", created(order_row("b"), position(11))),
        (b"b", deleted(order_row("b"), position(12))),
        (b"c", deleted(order_row("c"), position(13))),
        (b"c", created(order_row("c"), position(14))),
    ]
    monkeypatch.setattr(Topic, "records", records)
    seen = SeenRows("nowhere:1", "orders", ORDERS, is_alive=is_alive)
    seen.look()
    assert seen.keys == keys


@pytest.mark.parametrize("form", [lambda value: value, wrapped], ids=["bare", "wrapped"])
def test_a_deletion_follows_the_rows_newest_change_and_precedes_every_later_one(
    form: Callable[[bytes], bytes],
) -> None:
    known = ChangeRecord(b"a", form(UPDATED))
    swept = decoded(deletion(known, at_ms=5_000))
    assert (swept.deleted, swept.at_ms, swept.row.customer_id) == (True, 5_000, 9)
    later = decoded(ChangeRecord(b"a", created(order_row("a"), position(21))))
    assert decoded(known).position < swept.position < later.position
    assert swept.position[3] == SWEPT_ROW
    envelope = msgspec.json.decode(deletion(known, at_ms=5_000).value)
    assert (envelope["op"], envelope["after"], envelope["source"]["snapshot"]) == ("d", None, "false")


def test_a_key_that_can_be_written_in_several_ways_is_refused() -> None:
    times = msgspec.structs.replace(
        ORDERS, key=("timestamp",), columns=(Column(name="timestamp", type=LogicalType.TIMESTAMP),)
    )
    with pytest.raises(StackError, match="orders: key column timestamp"):
        require_comparable_key(times)
    require_comparable_key(ORDERS)


def test_a_table_that_is_refused_keeps_no_other_from_being_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    def swept(connection: Any, bootstrap: str, definition: Definition, table: Table, **_: bool) -> SweptTable:
        if table.name == "orders":
            raise SweepRefusedError("table orders: too many")
        return SweptTable(table=table.name, topic_rows=1, gone=0)

    monkeypatch.setattr(sweeping, "connected", lambda *_: nullcontext())
    monkeypatch.setattr(sweeping, "_swept", swept)
    definition = load_definition("project_db")
    done: list[str] = []
    database = DatabaseSettings.read({"MYSQL_HOST": "nowhere", "MYSQL_USER": "u", "MYSQL_PASSWORD": "p"})
    with pytest.raises(SweepRefusedError, match="table orders: too many"):
        done.extend(found.table for found in sweeping.sweep(database, "nowhere:1", definition))
    assert done == ["payment_method", "order_details", "customers"]


class Transactions:
    """A producer, and the records that its transactions made visible.

    Attributes:
        flushed: called when the records of a transaction have their offsets.
    """

    def __init__(self, flushed: Callable[[], None]) -> None:
        self.visible: list[bytes] = []
        self.is_open = False
        self._flushed = flushed
        self._pending: list[bytes] = []

    def init_transactions(self, timeout: float) -> None: ...

    def begin_transaction(self) -> None:
        self._pending, self.is_open = [], True

    def produce(self, topic: str, *, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        assert topic == "mysql.project_db.orders"
        assert headers == [(SWEPT_HEADER, b"")]
        self._pending.append(key)

    def flush(self, timeout: float) -> int:
        self._flushed()
        return 0

    def abort_transaction(self, timeout: float) -> None:
        self._pending, self.is_open = [], False

    def commit_transaction(self, timeout: float) -> None:
        self.visible += self._pending
        self._pending, self.is_open = [], False


def swept_orders(monkeypatch: pytest.MonkeyPatch, producer: Transactions, source: set[str]) -> SweptTable:
    """Sweep the orders `a`, `b` and `c` of a topic; the database has those of `source`."""
    rows_of(monkeypatch, *((id_.encode(), created(order_row(id_), position(10 + n))) for n, id_ in enumerate("abc")))

    def existing(_: Any, __: Table, keys: list[tuple[str]]) -> list[tuple[str]]:
        return [key for key in keys if key[0] in source]

    monkeypatch.setattr(sweeping, "existing", existing)
    monkeypatch.setattr(sweeping, "source_keys", lambda *_: {(id_,) for id_ in source})
    monkeypatch.setattr(sweeping, "database_time_ms", lambda _: 5_000)
    connection = SimpleNamespace(engine=SimpleNamespace(short_lock_waits=lambda _: nullcontext()))
    monkeypatch.setattr(sweeping, "connected", lambda *_: nullcontext(connection))
    monkeypatch.setattr(sweeping, "transactional_producer", lambda *_: producer)
    database: Any = None
    [found] = sweeping.sweep(database, "nowhere:1", load_definition("project_db"), only={"orders"})
    return found


def test_a_row_that_returns_before_its_deletion_has_an_offset_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"c"}
    producer = Transactions(flushed=lambda: source.add("b"))
    found = swept_orders(monkeypatch, producer, source)
    assert producer.visible == [b"a"]
    assert (found.topic_rows, found.gone) == (3, 1)


def test_a_sweep_that_fails_in_its_transaction_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise StackError("the database is away")

    producer = Transactions(flushed=fail)
    with pytest.raises(StackError, match="the database is away"):
        swept_orders(monkeypatch, producer, set())
    assert (producer.visible, producer.is_open) == ([], False)


READ = {"name": "project_db", "sequence": '["700","800"]', "lsn": 800, "snapshot": "true", "ts_ms": 1}


def of_postgres(op: str, **source: Any) -> ChangeRecord:
    """A change of an order as PostgreSQL's connector writes it."""
    return ChangeRecord(b"a", as_json({"op": op, "before": None, "after": order_row("a"), "source": READ | source}))


def test_a_deletion_in_postgres_is_newer_than_all_that_was_committed_and_older_than_all_that_is_not() -> None:
    known = of_postgres("r")
    after = {"name": "project_db", "sequence": '["900","1"]', "lsn": None}
    swept = decoded(deletion(known, 5_000, after))
    assert decoded(known).position < swept.position
    assert decoded(of_postgres("u", sequence='["890","999"]')).position < swept.position
    assert swept.position < decoded(of_postgres("u", sequence='["901","880"]')).position, "written before, seen later"
    assert swept.position < decoded(of_postgres("r", name="project_db.e1", sequence='[null,"5"]')).position
