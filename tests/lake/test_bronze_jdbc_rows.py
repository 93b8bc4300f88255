"""Goal: however many rows there are, however large, with or without a key, each lands once or is put aside.

Method: as in `test_bronze_jdbc`, rows that a table has only seldom.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from batch.delta import sizes
from batch.errors import BatchError
from config.definition import Column, LogicalType
from config.engines.base import Connection
from tests.support.lake.jdbc_source import Source, execute, order


@pytest.mark.parametrize(("rows", "files"), [(1, 1), (3, 3), (40, 10)])
def test_a_run_adds_files_by_the_number_of_rows_in_the_source(
    rows: int, files: int, orders: Source, shop: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "FILE_BYTES", sizes.ROW_BYTES)
    for number in range(rows):
        order(shop, number, "'2025-01-01'")
    shop.commit()
    result = orders.land()
    assert result.rows_written == rows
    assert result.files <= files
    assert (result.files > 1) == (files > 1)
    assert len(orders.rows("id")) == rows


def test_rows_with_null_in_their_key_are_landed_once_and_set_aside(details: Source, shop: Connection) -> None:
    execute(shop, "ALTER TABLE order_details DROP PRIMARY KEY, MODIFY product_id INT NULL")
    execute(shop, "INSERT INTO order_details VALUES ('o', NULL, 1), ('o', NULL, 2), ('o', 3, 1)")
    shop.commit()
    assert details.land().rows_written == 3
    assert details.refine().rejected["not_null(product_id)"] == 2
    assert details.land().is_unchanged
    execute(shop, "UPDATE order_details SET quantity = 5 WHERE quantity = 2")
    execute(shop, "DELETE FROM order_details WHERE product_id = 3")
    shop.commit()
    assert details.land().rows_written == 2
    assert details.refine().rejected["not_null(product_id)"] == 1
    assert details.difference(shop).rows == {}, "what may not be compared is neither behind nor different"
    assert details.land().is_unchanged
    execute(shop, "DELETE FROM order_details")
    shop.commit()
    assert details.land().is_unchanged, "nobody knows which of them is gone"


def test_a_key_that_is_not_unique_in_the_source_is_an_error(details: Source, shop: Connection) -> None:
    execute(shop, "ALTER TABLE order_details DROP PRIMARY KEY")
    execute(shop, "INSERT INTO order_details VALUES ('o', 1, 1)")
    shop.commit()
    details.land()
    execute(shop, "INSERT INTO order_details VALUES ('o', 1, 2), ('o', 2, 1)")
    shop.commit()
    with pytest.raises(BatchError, match=r"order_details: the key .*order_id, product_id.* not unique.* 1 keys occur"):
        details.land()
    assert len(details.rows("quantity")) == 1
    execute(shop, "DELETE FROM order_details WHERE quantity = 2")
    shop.commit()
    assert details.land().rows_written == 1


def test_a_row_that_is_too_large_is_put_aside_with_its_size_and_the_others_go_on(
    details: Source, shop: Connection
) -> None:
    execute(shop, "ALTER TABLE order_details ADD note LONGTEXT")
    note = Column(name="note", type=LogicalType.STRING, nullable=True)
    details.table = msgspec.structs.replace(details.table, columns=(*details.table.columns, note))
    small: Any = {"row_max_bytes": 100_000}
    execute(
        shop, "INSERT INTO order_details VALUES ('o', 1, 1, 'a'), ('o', 2, 1, 'a'), ('o', 3, 1, REPEAT('é', 60000))"
    )
    shop.commit()
    first = details.land(**small)
    assert (first.rows_written, first.rejected) == (2, {"unreadable": 1})
    execute(shop, "UPDATE order_details SET note = REPEAT('x', 100001) WHERE product_id = 2")
    execute(shop, "DELETE FROM order_details WHERE product_id = 1")
    shop.commit()
    second = details.land(**small)
    assert (second.rows_written, second.rejected) == (1, {"unreadable": 2})
    again = details.land(**small)
    assert (again.is_unchanged, again.rejected) == (True, {"unreadable": 2}), "counted by each run, put aside once"
    repaired = details.land_rows(("o", "2"), ("o", "3"), **small)
    assert (repaired.rows_written, repaired.rejected) == (0, {"unreadable": 2}), "a row that is there is not deleted"
    assert sorted(details.rows("product_id", "_op", "note")) == [("1", "d", None), ("1", "r", "a"), ("2", "r", "a")]
    allowed = "bytes, more than LAKE_ROW_MAX_BYTES (100,000)"
    assert details.aside() == {
        '{"order_id":"o","product_id":"2"}': f"the row has 100,001 {allowed}",
        '{"order_id":"o","product_id":"3"}': f"the row has 120,000 {allowed}",
    }
    assert details.land().rows_written == 2, "with another limit, nothing is too large"
