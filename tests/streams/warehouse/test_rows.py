"""Goal: the warehouse's rows follow from the changes alone, whatever the order in which they arrive and how often.

Method: the statements of the application on a real PostgreSQL, without Kafka. The order of rows is given by their
positions; whether a row was written again is seen in its `xmin`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.dataset import load_definition
from ops.cli import main
from ops.database import connected
from ops.warehouse.check import Comparison, compared
from ops.warehouse.erase import canonical_key, erase
from stack.errors import StackError
from streams.model.letter import Letter, letter_arrays
from streams.model.position import sequence_text
from tables.warehouse import statements
from tests.streams.warehouse.warehouse_rows import CUSTOMERS, Warehouse, Writer, customer
from tests.support.builders import created, deleted, position, read_at, snapshot_read, updated

MINUTE_MS = 60_000
BEGAN_MS = 1_767_323_040_000
HISTORY = (
    created(customer(email="one"), position(1), at_ms=BEGAN_MS),
    updated(customer(email="one"), customer(email="two"), position(2), at_ms=BEGAN_MS + 3 * MINUTE_MS),
    deleted(customer(email="two"), position(3), at_ms=BEGAN_MS + 2 * MINUTE_MS),  # the source's clock was set back
    created(customer(email="again"), position(4), at_ms=BEGAN_MS + 4 * MINUTE_MS),
    updated(customer(email="again"), customer(email="last"), position(5), at_ms=BEGAN_MS + 5 * MINUTE_MS),
)


def at(minutes: int) -> datetime:
    """A time after the history's begin."""
    return datetime.fromtimestamp((BEGAN_MS + minutes * MINUTE_MS) / 1000, UTC)


def expected(email: str, pos: int, *, first: int, last: int, is_deleted: bool = False) -> tuple[object, ...]:
    """A row of dim_customers."""
    own = (at(first), at(last), is_deleted, pos, sequence_text(position(pos)))
    return (1, email, Decimal("1.50"), date(1990, 1, 2), *own)


async def written(warehouse: Warehouse, *turns: Sequence[bytes], table: str = "dim_customers") -> Writer:
    """Write turns; returns their writer."""
    writer = Writer(warehouse, table)
    await writer.open()
    for turn in turns:
        await writer.write(*turn)
    await writer.close()
    return writer


async def lettered(warehouse: Warehouse, *keys: bytes | None) -> None:
    """Write dead letters of customers with these keys."""
    letters = [Letter("app", CUSTOMERS, 0, place, 0, 0, "bad", key, b"{", "[]") for place, key in enumerate(keys, 100)]
    writer = Writer(warehouse)
    statement = statements.insert_letters(warehouse.name, {CUSTOMERS: "dim_customers"})
    async with writer.client.transaction() as transaction:
        assert await transaction.run(statement, letter_arrays(letters)) == len(keys)
    await writer.close()


def orders_of_the_history() -> st.SearchStrategy[list[list[int]]]:
    """Turns that together hold every change of the history, in any order and any number of times."""
    every = st.permutations(range(len(HISTORY)))
    more = st.lists(st.integers(0, len(HISTORY) - 1), max_size=4)
    mixed = st.tuples(every, more).map(lambda both: [*both[0], *both[1]]).flatmap(st.permutations)
    return st.tuples(mixed, st.lists(st.booleans(), min_size=9, max_size=9)).map(_cut)


def _cut(drawn: tuple[list[int], list[bool]]) -> list[list[int]]:
    turns: list[list[int]] = [[]]
    for index, ends in zip(drawn[0], drawn[1], strict=False):
        turns[-1].append(index)
        if ends:
            turns.append([])
    return [turn for turn in turns if turn]


@given(orders_of_the_history())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_any_repetition_of_a_rows_history_lead_to_the_same_row(
    warehouse: Warehouse, turns: list[list[int]]
) -> None:
    warehouse.run("TRUNCATE dim_customers")
    asyncio.run(_written_and_closed(warehouse, turns))
    assert warehouse.rows() == [expected("last", 5, first=0, last=5)]


async def _written_and_closed(warehouse: Warehouse, turns: list[list[int]]) -> None:
    await written(warehouse, *[[HISTORY[index] for index in turn] for turn in turns])


async def test_a_replay_writes_no_row_again(warehouse: Warehouse) -> None:
    await written(warehouse, HISTORY)
    before = warehouse.versions()
    writer = await written(warehouse, HISTORY[:2], HISTORY, [HISTORY[4]], [HISTORY[0]])
    assert warehouse.versions() == before
    assert writer.sink.counts == {"written": 0, "passed_over": 4, "refused": 0}


async def test_a_snapshot_that_reads_what_is_known_writes_no_row_and_one_that_reads_something_else_does(
    warehouse: Warehouse,
) -> None:
    await written(warehouse, HISTORY)
    before = warehouse.versions()
    await written(warehouse, [snapshot_read(customer(email="last"), read_at(9), at_ms=BEGAN_MS + 9 * MINUTE_MS)])
    assert warehouse.versions() == before
    await written(warehouse, [snapshot_read(customer(email="missed"), read_at(9), at_ms=BEGAN_MS + 9 * MINUTE_MS)])
    [row] = warehouse.rows()
    assert (row[1], row[5]) == ("missed", at(9))


async def test_a_deleted_row_keeps_its_last_columns_and_comes_back_with_its_first_time(warehouse: Warehouse) -> None:
    await written(warehouse, HISTORY[:2], [HISTORY[2]])
    assert warehouse.rows() == [expected("two", 3, first=0, last=3, is_deleted=True)]
    await written(warehouse, [HISTORY[3]])
    assert warehouse.rows() == [expected("again", 4, first=0, last=4)]


async def test_a_deletion_of_an_unknown_row_is_kept_so_that_an_older_insertion_does_not_revive_it(
    warehouse: Warehouse,
) -> None:
    await written(warehouse, [HISTORY[2]])
    await written(warehouse, [HISTORY[0]], [HISTORY[1]])
    assert warehouse.rows() == [expected("two", 3, first=0, last=3, is_deleted=True)]


async def test_a_change_of_the_key_is_a_deleted_and_a_new_row(warehouse: Warehouse) -> None:
    await written(warehouse, [created(customer(1), position(1))])
    await written(warehouse, [deleted(customer(1), position(2)), created(customer(5), position(2))])
    assert [(row[0], row[6]) for row in warehouse.rows()] == [(1, True), (5, False)]


async def test_a_fact_has_every_type_as_the_source_has_it(warehouse: Warehouse) -> None:
    id_ = "3F2504E0-4F89-11D3-9A0C-0305E82C3301"
    row = {"id": id_, "customer_id": 404, "score": "NaN", "paid": 1, "at": "2026-01-02T03:04:05.123456Z"}
    await written(warehouse, [created(row, position(1), at_ms=BEGAN_MS)], table="fact_orders")
    query = "SELECT order_id::text, customer_id, score::text, paid, at, event_time, is_deleted FROM fact_orders"
    moment = datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)
    assert warehouse.run(query) == [(id_.lower(), 404, "NaN", True, moment, at(0), False)]


REFUSED = {
    "a NUL": customer(2, "a\0b"),
    "a number that is none": customer(2, balance="12,5"),
    "a day that is none": customer(2, born="2026-02-30Z"),
    "a year before Christ": customer(2, born="-0043-03-15Z"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_value_that_the_database_refuses_becomes_a_dead_letter_and_costs_only_itself(
    warehouse: Warehouse, name: str
) -> None:
    bad = created(REFUSED[name], position(50))
    values = [created(customer(number), position(number)) for number in range(3, 40)]
    writer = await written(warehouse, [*values[:20], bad, *values[20:]])
    assert [row[0] for row in warehouse.rows()] == list(range(3, 40))
    [letter] = writer.letters.kept
    assert (letter.topic, letter.value) == ("dead_letters", bad)
    assert b"refused by the warehouse" in dict(letter.headers)["reason"]
    assert writer.sink.counts == {"written": 37, "passed_over": 0, "refused": 1}
    assert warehouse.run("SELECT next FROM stream_offsets") == [(38,)]


async def test_a_person_who_was_erased_does_not_come_back_by_a_replay_nor_after_a_reset(warehouse: Warehouse) -> None:
    table, topic = warehouse.table("dim_customers"), "dbserver1.public.customers"
    letter = "INSERT INTO dlq_events SELECT 'app', %s, 0, n, now(), now(), 'bad', n::text::bytea, '{', '{}'"
    warehouse.run(f"{letter} FROM generate_series(1, 2) AS n", topic)
    await written(warehouse, [*HISTORY[:3], created(customer(2), position(1))])
    with connected(warehouse.settings, warehouse.name, warehouse.name) as connection:
        assert erase(connection, table, "1", topic) == (1, 1)
        assert erase(connection, table, "1", topic)[0] == 0
    content = 'SELECT key, value, reason FROM dlq_events ORDER BY "offset"'
    assert warehouse.run(content) == [(None, None, "erased"), (b"2", b"{", "bad")]
    for _ in range(2):
        await written(warehouse, HISTORY, [created(customer(2), position(1))])
        erased, other = warehouse.rows()
        assert erased[:4] == (1, None, None, None)
        assert erased[7] == 5
        assert other[1] == customer(2)["email"]
        assert main(["warehouse", "reset", "--yes"]) == 0
        assert main(["warehouse", "apply"]) == 0
    assert warehouse.run("SELECT count(*) FROM dlq_events") == [(0,)]
    await lettered(warehouse, b"1", b'"1"', b"10", b"2", None)
    assert warehouse.run(content) == [
        *[(None, None, "erased")] * 2,
        *((b"10", b"{", "bad"), (b"2", b"{", "bad"), (None, b"{", "bad")),
    ]


def test_a_person_is_erased_however_the_key_is_written(warehouse: Warehouse) -> None:
    definition, table = load_definition(warehouse.name), warehouse.table("dim_customers")
    assert {canonical_key(definition, table, text) for text in ("42", "0042", " 42 ")} == {"42"}
    with pytest.raises(StackError, match="no key of customers"):
        canonical_key(definition, table, "42a")


async def test_the_warehouse_is_compared_with_its_source_by_rows_and_checksums(warehouse: Warehouse) -> None:
    warehouse.run(
        """
        CREATE SCHEMA source;
        CREATE TABLE source.customers (id integer PRIMARY KEY, email varchar(99), balance numeric(12, 2), born date);
        INSERT INTO source.customers VALUES (1, 'a@example.org', 1.5, '1990-01-02'), (2, 'ü', NULL, NULL)
        """
    )
    table, nothing = warehouse.table("dim_customers"), {"balance": None, "born": None}
    await written(warehouse, [created(customer(3), position(1)), deleted(customer(3), position(2))])
    await written(warehouse, [created(customer(1), position(3)), created(customer(2, "ü", **nothing), position(4))])

    def found() -> Comparison:
        with (
            connected(warehouse.settings, warehouse.name, "source") as source,
            connected(warehouse.settings, warehouse.name, warehouse.name) as own,
        ):
            [comparison] = compared(source, own, [table])
        return comparison

    assert found().is_equal
    assert (found().source.rows, found().source.text) == (2, found().warehouse.text)
    warehouse.run("UPDATE source.customers SET email = 'u' WHERE id = 2")
    assert not found().is_equal
    warehouse.run(
        "UPDATE dim_customers SET email = 'u' WHERE customer_id = 2; DELETE FROM source.customers WHERE id = 1"
    )
    assert (found().is_equal, found().source.rows, found().warehouse.rows) == (False, 1, 2)


async def test_ten_megabytes_of_text_are_a_row_like_others(warehouse: Warehouse) -> None:
    await written(warehouse, [created(customer(1, "ü" * 5_000_000), position(1))])
    assert warehouse.run("SELECT octet_length(email) FROM dim_customers") == [(10_000_000,)]


async def test_more_rows_than_one_statement_takes_are_written(warehouse: Warehouse) -> None:
    await written(warehouse, [created(customer(number), position(number)) for number in range(1, 5_003)])
    assert warehouse.run("SELECT count(*), max(customer_id) FROM dim_customers") == [(5_002, 5_002)]
