"""Goal: no row that is committed is missed by the windows, and none is landed twice.

Method: a real MariaDB with open transactions, rows on the boundary, and a lake in folders. The anchor's safety is 0, so
that a row just written is read at once.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.bronze import progress as bronze_progress
from batch.bronze.windows import find_anchor
from batch.errors import BatchError
from batch.storage.canonical import time_text
from batch.storage.database import connected
from config.database_settings import DatabaseSettings
from config.definition import Column, LogicalType
from config.engines.base import Connection
from streams.topics import change_topic
from tests.support.lake.bronze_testbed import DEFINITION, Archive, content, envelope, fed_by_jdbc, picked, run_context
from tests.support.lake.jdbc_source import BY_CURSOR, Source, execute, order


def test_the_first_run_reads_all_and_keeps_microseconds(orders: Source, shop: Connection) -> None:
    order(shop, 1, "'2025-01-01 00:00:00.000001'")
    order(shop, 2, "'2025-01-01 23:59:59.999999'")
    shop.commit()
    result = orders.land()
    assert (result.rows_in, result.rows_written) == (2, 2)
    assert orders.rows("id", "num_products", "timestamp", "_op", "_origin") == [
        ("order-1", "4", "2025-01-01 00:00:00.000001", "r", "jdbc"),
        ("order-2", "4", "2025-01-01 23:59:59.999999", "r", "jdbc"),
    ]
    execute(shop, "ALTER TABLE orders ADD note VARCHAR(9) DEFAULT 'none'")  # no row's cursor changes
    shop.commit()
    drifted = orders.land()
    assert drifted.is_unchanged
    assert [text.rpartition(": ")[2] for text in drifted.drift or ()] == ["note"]
    note = Column(name="note", type=LogicalType.STRING, nullable=True)
    orders.table = msgspec.structs.replace(orders.table, columns=(*orders.table.columns, note))
    with pytest.raises(BatchError, match=r"note.*--since"):
        orders.land(since=datetime(2025, 1, 1, tzinfo=UTC))
    assert orders.land().rows_written == 2
    assert orders.rows("id", "note")[1::2] == [("order-1", "none"), ("order-2", "none")]
    assert orders.land().is_unchanged


def test_a_column_that_comes_back_to_the_definition_is_read_again(orders: Source, shop: Connection) -> None:
    whole = orders.table
    without = tuple(column for column in whole.columns if column.name != "store_id")
    order(shop, 1, "'2025-01-01 00:00:00'")
    order(shop, 2, "'2025-01-01 00:00:00'")
    shop.commit()
    orders.land()
    orders.table = msgspec.structs.replace(whole, columns=without)
    execute(shop, "UPDATE orders SET store_id = 9, timestamp = '2025-03-01' WHERE id = 'order-1'")
    shop.commit()
    orders.land(since=datetime(2025, 2, 1, tzinfo=UTC))
    orders.table = whole
    assert orders.land().rows_written == 1
    assert orders.rows("id", "store_id") == [("order-1", "2"), ("order-1", None), ("order-1", "9"), ("order-2", "2")]
    assert orders.land().is_unchanged


def test_a_column_that_got_another_name_is_read_under_it(orders: Source, shop: Connection) -> None:
    for number in (1, 2):
        order(shop, number, "'2025-01-01 00:00:00'")
    shop.commit()
    orders.land()
    execute(shop, "ALTER TABLE orders RENAME COLUMN store_id TO branch")
    renamed = [msgspec.structs.replace(c, name="branch") if c.name == "store_id" else c for c in orders.table.columns]
    orders.table = msgspec.structs.replace(orders.table, columns=tuple(renamed))
    assert orders.land().rows_written == 2, "the hash of a row's values is the same as before"
    assert orders.rows("id", "branch")[1::2] == [("order-1", "2"), ("order-2", "2")]
    assert orders.land().is_unchanged


def test_a_run_too_many_writes_nothing(orders: Source, shop: Connection) -> None:
    order(shop, 1)
    shop.commit()
    first = orders.land()
    again = orders.land()
    assert (again.is_unchanged, again.version, again.rows_written) == (True, first.version, 0)
    assert len(orders.rows("id")) == 1


def test_a_row_that_is_committed_after_the_run_is_in_the_next_one(
    orders: Source, shop: Connection, database: DatabaseSettings
) -> None:
    order(shop, 1)  # its time is taken, and its transaction stays open
    with connected(database, DEFINITION.database) as other:
        time.sleep(0.1)
        order(other, 2)  # has a later time, and is committed at once
    time.sleep(0.1)
    orders.land()
    shop.commit()
    orders.land()
    assert orders.rows("id") == [("order-1",), ("order-2",)]


def test_the_anchor_lies_before_the_oldest_open_transaction(shop: Connection, database: DatabaseSettings) -> None:
    order(shop, 1)
    with shop.cursor() as cursor:
        cursor.execute("SELECT timestamp FROM orders")
        ((written_at,),) = cursor.fetchall()
    assert isinstance(written_at, datetime)
    time.sleep(1.2)
    with connected(database, DEFINITION.database) as other:
        held = find_anchor(other, safety_s=0).at
        shop.commit()
        with shop.cursor() as cursor:
            cursor.execute("START TRANSACTION READ ONLY")
            cursor.execute("SELECT COUNT(*) FROM orders")
            cursor.fetchall()
        time.sleep(0.3)  # the server shows a list of transactions that is up to 0.1 s old
        free = find_anchor(other, safety_s=5)
    assert held <= written_at.replace(tzinfo=UTC)
    assert held > written_at.replace(tzinfo=UTC) - timedelta(seconds=5)
    assert free.open_s == 0, "a transaction that can write nothing holds nothing back"
    assert abs(free.at - (datetime.now(UTC) - timedelta(seconds=5))) < timedelta(seconds=4)


def test_equal_times_on_the_boundary_are_neither_missed_nor_doubled(orders: Source, shop: Connection) -> None:
    boundary = "2025-03-01 12:00:00.500000"
    until = datetime(2025, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    for number in (1, 2):
        order(shop, number, f"'{boundary}'")
    order(shop, 3, "'2025-03-01 12:00:00.499999'")
    shop.commit()
    first = orders.land(until=until)
    assert (bronze_progress.anchor(first.progress), orders.rows("id")) == (boundary, [("order-3",)])
    order(shop, 4, f"'{boundary}'")
    shop.commit()
    orders.land()
    assert orders.rows("id") == [("order-1",), ("order-2",), ("order-3",), ("order-4",)]


def test_what_lies_before_a_window_that_since_begins_later_is_read_by_the_next_run(
    orders: Source, shop: Connection
) -> None:
    order(shop, 1, "'2025-03-01 12:30:00'")
    shop.commit()
    orders.land(until=datetime(2025, 3, 1, 13, tzinfo=UTC))
    order(shop, 2, "'2025-03-01 13:30:00'")
    order(shop, 3, "'2025-03-01 15:30:00'")
    shop.commit()
    orders.land(since=datetime(2025, 3, 1, 15, tzinfo=UTC))
    assert orders.rows("id") == [("order-1",), ("order-3",)]
    orders.land()
    assert orders.rows("id") == [("order-1",), ("order-2",), ("order-3",)]
    assert orders.land().is_unchanged


def test_a_changed_row_is_landed_again_with_a_higher_sequence(orders: Source, shop: Connection) -> None:
    order(shop, 1)
    shop.commit()
    orders.land_new()
    execute(shop, "UPDATE orders SET num_products = 9, timestamp = NOW(6)")
    shop.commit()
    orders.land_new()
    (old, new) = orders.rows("num_products", "_sequence")
    assert (old[0], new[0]) == ("4", "9")
    assert new[1] > old[1]


def test_rows_without_a_cursor_are_landed_once(orders: Source, shop: Connection) -> None:
    execute(shop, "ALTER TABLE orders MODIFY `timestamp` DATETIME(6) NULL")
    order(shop, 1, "NULL")
    shop.commit()
    orders.land()
    order(shop, 2, "NULL")
    shop.commit()
    assert orders.land().rows_written == 1
    assert orders.rows("id", "timestamp") == [("order-1", None), ("order-2", None)]
    for stores in (7, 2):  # the second time, back to what it was
        execute(shop, f"UPDATE orders SET store_id = {stores} WHERE id = 'order-2'")  # noqa: S608
        shop.commit()
        assert orders.land().rows_written == 1
    assert [row[0] for row in orders.rows("store_id", "_sequence")] == ["2", "2", "7", "2"]
    for time_ in ("'2025-01-01'", "NULL"):
        execute(shop, f"UPDATE orders SET timestamp = {time_} WHERE id = 'order-2'")  # noqa: S608
        shop.commit()
        since = datetime(2024, 12, 31, tzinfo=UTC) if time_ != "NULL" else None
        assert orders.land(since=since).rows_written == 1
    execute(shop, "SET SESSION sql_mode = ''")
    order(shop, 3, "'0000-00-00 00:00:00'")
    shop.commit()
    assert orders.land().rows_written == 1
    assert orders.land().is_unchanged
    order(shop, 4, "'0000-00-00 00:00:00'")
    shop.commit()
    assert orders.land().rows_written == 1


def test_rows_with_a_time_in_the_future_are_counted(orders: Source, shop: Connection) -> None:
    order(shop, 1)
    order(shop, 2, "NOW(6) + INTERVAL 1 DAY")
    shop.commit()
    time.sleep(0.2)
    result = orders.land()
    assert (result.rows_written, result.note) == (
        1,
        "rows with a time in the future in timestamp, not read before then: 1",
    )


@pytest.mark.nightly  # a killed run is finished in the commands' tests on every push
def test_a_run_that_died_before_its_commit_is_repeated_by_the_next(
    orders: Source, shop: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(shop, 1)
    shop.commit()
    orders.land()
    order(shop, 2)
    shop.commit()

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("batch.delta.table.LakeTable.append", die)
        with pytest.raises(KeyboardInterrupt):
            orders.land()
    assert orders.land().rows_written == 1
    assert orders.rows("id") == [("order-1",), ("order-2",)]


def test_a_table_without_cursor_is_compared_as_a_whole(details: Source, shop: Connection) -> None:
    execute(shop, "INSERT INTO order_details VALUES ('o', 1, 1), ('o', 2, 1), ('o', 3, 1)")
    shop.commit()
    assert details.land().rows_written == 3
    execute(shop, "UPDATE order_details SET quantity = 5 WHERE product_id = 2")
    execute(shop, "DELETE FROM order_details WHERE product_id = 3")
    execute(shop, "INSERT INTO order_details VALUES ('o', 4, 1)")
    shop.commit()
    assert details.land().rows_written == 3
    rows = sorted(details.rows("product_id", "_sequence", "quantity", "_op"))
    assert [(row[0], *row[2:]) for row in rows] == [
        ("1", "1", "r"),
        ("2", "1", "r"),
        ("2", "5", "r"),
        ("3", "1", "r"),
        ("3", None, "d"),
        ("4", "1", "r"),
    ]
    assert len({row[1] for row in rows}) == 2
    assert details.land().is_unchanged
    execute(shop, "UPDATE order_details SET quantity = 1 WHERE product_id = 2")
    execute(shop, "INSERT INTO order_details VALUES ('o', 3, 1)")
    shop.commit()
    assert details.land().rows_written == 2  # back to what they were, which is news


def test_a_full_run_finds_what_windows_cannot(orders: Source, shop: Connection) -> None:
    for number in (1, 2):
        order(shop, number, "'2025-01-01 00:00:00'")
    shop.commit()
    orders.land()
    execute(shop, "DELETE FROM orders WHERE id = 'order-1'")
    execute(shop, "UPDATE orders SET store_id = 77")
    order(shop, 3, "'2024-01-01 00:00:00'")
    shop.commit()
    assert orders.land().rows_written == 0
    assert orders.land(full=True).rows_written == 3
    newest = {row[0]: row[1:] for row in orders.rows("id", "store_id", "_op")}
    assert newest == {"order-1": (None, "d"), "order-2": ("77", "r"), "order-3": ("2", "r")}


def test_single_rows_can_be_landed_again(orders: Source, shop: Connection) -> None:
    for number in (1, 2):
        order(shop, number, "'2025-01-01 00:00:00'")
    shop.commit()
    before = orders.land()
    execute(shop, "UPDATE orders SET store_id = 77 WHERE id = 'order-1'")
    execute(shop, "DELETE FROM orders WHERE id = 'order-2'")
    shop.commit()
    result = orders.land_rows(("order-1",), ("order-2",), ("never-was-'\\",))
    assert result.rows_written == 3
    assert bronze_progress.anchor(result.progress) == bronze_progress.anchor(before.progress)
    newest = {row[0]: row[1:] for row in orders.rows("id", "store_id", "_op")}
    assert newest == {"order-1": ("77", "r"), "order-2": (None, "d"), "never-was-'\\": (None, "d")}
    order(shop, 5)
    shop.commit()
    assert orders.land().rows_written == 1
    sequences = {row[0]: row[1] for row in orders.rows("id", "_sequence")}
    assert sequences["order-5"] > sequences["order-1"]


def test_a_repaired_row_has_the_newest_epoch_and_the_place_of_the_log_before_it_was_read(
    spark: SparkSession, tmp_path: Path, database: DatabaseSettings, shop: Connection
) -> None:
    order(shop, 1)
    shop.commit()
    with shop.cursor() as cursor:
        cursor.execute("SHOW MASTER STATUS")
        found = cursor.fetchall()
    Archive(tmp_path, change_topic("project_db", "payment_method")).put(
        envelope("c", {"id": 1, "name": "Visa", "bank": None}, pos=4, name="project_db.e3")
    )
    context = run_context(spark, tmp_path, database=database)
    bronze.land(DEFINITION.table("payment_method"), context)
    bronze.land_rows(DEFINITION.table(BY_CURSOR), [("order-1",)], context)
    ((sequence, op),) = picked(content(context, BY_CURSOR), "_sequence", "_op")
    file, pos = str(found[0][0]), int(str(found[0][1]))
    assert op == "r"
    assert sequence.startswith(f"0000000003.{int(file.split('.')[1]):019d}.{pos:019d}.0000000000.")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("DROP COLUMN store_id", "store_id "),
        ("MODIFY store_id VARCHAR(10)", "store_id .*varchar.*integer"),
    ],
)
def test_a_column_that_is_dropped_or_of_another_type_is_named(
    orders: Source, shop: Connection, change: str, fault: str
) -> None:
    execute(shop, f"ALTER TABLE orders {change}")
    with pytest.raises(BatchError, match=f"bronze/orders: .*{fault}"):
        orders.land()


def test_a_database_that_is_away_is_named_after_three_tries(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.storage.retry.PAUSES_S", (0.0, 0.0))
    nobody = DatabaseSettings.read(
        {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": "1", "MYSQL_USER": "x", "MYSQL_PASSWORD": "y"}
    )
    definition, table = fed_by_jdbc(BY_CURSOR)
    with pytest.raises(BatchError, match="the database does not answer"):
        bronze.land(table, run_context(spark, tmp_path, definition=definition, database=nobody))


def test_times_are_written_as_the_database_does() -> None:
    assert time_text(datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC)) == "2025-01-02 03:04:05.000006"
