"""Goal: the agents of `streams.warehouse` turn each change into a version of a row, and each dead letter into an event.

Method: `agent.test_context()` with a stand-in partition for each pipeline; no server. What they would write to the
warehouse is kept by the stand-in, in `content`.
"""

from __future__ import annotations

from typing import Any

from config.dataset import load_definition
from config.warehouse import OWN_COLUMNS as RESERVED
from streams import warehouse as application
from streams.model.letter import Letter
from streams.model.warehouse import OWN_COLUMNS, Row, warehouse_tables
from streams.runtime.testing import Consumed, StandIn
from tests.support.builders import COMMITTED_MS, created, deleted, position, read_at, snapshot_read, updated

CUSTOMERS = "mysql.project_db.customers"
ADA = {
    "id": 7,
    "name": "Ada",
    "email": "ada@example.org",
    "phone": None,
    "tier": "gold",
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:05Z",
}
SILVER = ADA | {"tier": "silver"}


def row(columns: dict[str, Any], pos: int, **other: Any) -> Row:
    """A version of a row of `dim_customers`."""
    times = dict.fromkeys(("at_ms", "first_ms", "last_ms"), COMMITTED_MS)
    return Row(**{"values": tuple(columns.values()), "is_deleted": False, "position": position(pos), **times, **other})


def contents(stand_in: StandIn, name: str) -> list[Any]:
    """What would be written to a table of the warehouse."""
    return [record.content for record in stand_in.written(name)]


async def fed(*batches: list[tuple[bytes | None, bytes | None]]) -> StandIn:
    """The customers' stand-in after some batches."""
    stand_in = StandIn(application.app, pipeline="dim_customers")
    number = [pipeline.name for pipeline in application.app.pipelines].index("dim_customers")
    async with application.loads[number].test_context() as agent:
        for batch in batches:
            await agent.put(stand_in.batch(CUSTOMERS, batch))
    return stand_in


async def test_every_change_becomes_a_row_with_the_columns_of_the_source() -> None:
    stand_in = await fed(
        [(b"7", created(ADA, position(1)))],
        [(b"7", updated(ADA, SILVER, position(2)))],
        [(b"7", deleted(SILVER, position(3)))],
    )
    assert contents(stand_in, "dim_customers") == [row(ADA, 1), row(SILVER, 2), row(SILVER, 3, is_deleted=True)]


async def test_changes_of_a_row_in_one_turn_are_one_row_whatever_their_order() -> None:
    first, second = created(ADA, position(1), at_ms=1_000), updated(ADA, SILVER, position(2), at_ms=5_000)
    expected = [row(SILVER, 2, at_ms=5_000, first_ms=1_000, last_ms=5_000)]
    for values in ([first, second], [second, first], [second, first, second, first]):
        stand_in = await fed([(b"7", value) for value in values])
        assert contents(stand_in, "dim_customers") == expected


async def test_a_key_change_deletes_one_row_and_creates_another_in_the_order_of_keys() -> None:
    stand_in = await fed([(b"9", deleted(ADA | {"id": 9}, position(1))), (b"7", created(ADA, position(1)))])
    assert contents(stand_in, "dim_customers") == [row(ADA, 1), row(ADA | {"id": 9}, 1, is_deleted=True)]


async def test_a_record_with_a_wrong_type_or_without_a_column_costs_only_itself() -> None:
    wrong = created(ADA | {"id": 8, "name": 5})
    missing = created({"id": 9, "name": "Nobody"})
    stand_in = await fed(
        [(b"8", wrong), (b"9", missing), (b"7", b"{"), (b"7", created(ADA, position(1))), (b"7", None)]
    )
    assert contents(stand_in, "dim_customers") == [row(ADA, 1)]
    dead = [(record.value, dict(record.headers)) for record in stand_in.written("dead_letters")]
    assert [value for value, _ in dead] == [wrong, missing, b"{"]
    assert [headers["offset"] for _, headers in dead] == [b"0", b"1", b"2"]
    assert {headers["app"] for _, headers in dead} == {b"millrace-warehouse"}
    assert b"name" in dead[0][1]["reason"]


async def test_a_change_without_a_time_has_that_of_its_record() -> None:
    stand_in = await fed([(b"7", created(ADA, position(1), at_ms=0))])
    [loaded] = contents(stand_in, "dim_customers")
    assert loaded.at_ms == stand_in.records[0].source.timestamp > COMMITTED_MS  # type: ignore[union-attr]


async def test_what_a_snapshot_read_does_not_move_the_last_time_of_a_later_change() -> None:
    read = snapshot_read(ADA, read_at(1), at_ms=9_000)
    stand_in = await fed([(b"7", read), (b"7", updated(ADA, SILVER, position(2), at_ms=5_000))])
    assert contents(stand_in, "dim_customers") == [row(SILVER, 2, at_ms=5_000, first_ms=5_000, last_ms=5_000)]


def test_every_table_of_the_definition_and_the_dead_letters_have_a_pipeline_without_a_state() -> None:
    found = [(p.name, p.sources, p.table) for p in application.app.pipelines]
    assert found == [
        ("dim_payment_methods", ("mysql.project_db.payment_method",), None),
        ("fact_orders", ("mysql.project_db.orders",), None),
        ("fact_order_details", ("mysql.project_db.order_details",), None),
        ("dim_customers", (CUSTOMERS,), None),
        ("dlq_events", ("dead_letters",), None),
    ]


async def letters(*records: Consumed) -> list[Letter]:
    """The dead letters that records of the topic lead to."""
    stand_in = StandIn(application.app, pipeline="dlq_events")
    batch = stand_in.batch("dead_letters", [(b"", b"")] * len(records))
    batch.records = records
    for change, record in zip(batch.changes, records, strict=True):
        change.row = record  # type: ignore[union-attr]
    async with application.letters.test_context() as agent:
        await agent.put(batch)
    return contents(stand_in, "dead_letters")


async def test_a_dead_letter_is_kept_under_the_origin_of_its_record() -> None:
    names = {"reason": b"no JSON", "app": b"other", "topic": b"t", "partition": b"2", "offset": b"5", "timestamp": b"9"}
    record = Consumed("dead_letters", 1, 30, b"k", b"\0{", 77, tuple(names.items()))
    [letter] = await letters(record)
    assert (letter.app, letter.topic, letter.partition, letter.offset) == ("other", "t", 2, 5)
    assert (letter.recorded_ms, letter.written_ms, letter.reason) == (9, 77, "no JSON")
    assert (letter.key, letter.value) == (b"k", b"\0{")


async def test_whatever_a_letter_says_it_is_kept_and_a_note_of_a_replay_is_none() -> None:
    odd = (("reason", b"a\0\xff"), ("topic", b"t" * 300), ("offset", b"x"), ("", None))
    note = Consumed("dead_letters", 0, 1, None, None, 5, (("replayed", b"0"),))
    [letter] = await letters(Consumed("dead_letters", 3, 4, None, b"", -1, odd), note)
    assert (letter.app, letter.topic, letter.partition, letter.offset, letter.recorded_ms) == (
        "",
        "dead_letters",
        3,
        4,
        0,
    )
    assert letter.reason == "a\\x00\\xff"


def test_the_definition_knows_the_warehouses_own_columns() -> None:
    assert {kind: tuple(columns) for kind, columns in OWN_COLUMNS.items()} == RESERVED


def test_each_shipped_dataset_has_a_warehouse() -> None:
    for name in ("project_db", "shop"):
        assert {"dim_customers", "fact_orders"} <= {t.name for t in warehouse_tables(load_definition(name).tables)}
