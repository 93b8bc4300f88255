"""Goal: a Bronze table belongs to the feed that has filled it, also after a rebuild that failed.

Method: a table that only knows its property and its progress; no Spark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from batch.bronze.table import FEED, is_of_other_feed
from batch.delta.table import LakeTable
from config.dataset import load_definition

BY_CHANGES = load_definition("project_db").table("orders")
BY_JDBC = msgspec.structs.replace(BY_CHANGES, feed="jdbc")
CAPTURED: Mapping[str, Any] = {"project_db.orders/0": 7, "rest": ["note"]}
READ: Mapping[str, Any] = {"anchor": "2025-01-01 00:00:00.000000", "start": None, "sequence": 1}


class Filled:
    """A Bronze table with this property and this progress."""

    def __init__(self, feed: str | None, progress: Mapping[str, Any]) -> None:
        self._feed, self._progress = feed, progress

    def property(self, name: str) -> str | None:
        return self._feed if name == FEED else None

    def progress(self) -> dict[str, Any]:
        return dict(self._progress)


@pytest.mark.parametrize(
    ("feed", "progress", "filled_by"),
    [
        (None, {}, None),
        ("changes", {}, "changes"),
        ("changes", CAPTURED, "changes"),
        ("jdbc", READ, "jdbc"),
        # A rebuild has set the property, and failed before it replaced the rows.
        ("jdbc", CAPTURED, "changes"),
        ("changes", READ, "jdbc"),
    ],
)
def test_the_rows_decide_to_which_feed_a_table_belongs(
    feed: str | None, progress: Mapping[str, Any], filled_by: str | None
) -> None:
    bronze = cast("LakeTable", Filled(feed, progress))
    others = {table.feed for table in (BY_CHANGES, BY_JDBC) if is_of_other_feed(bronze, table)}
    assert others == ({"changes", "jdbc"} - {filled_by} if filled_by else set())
