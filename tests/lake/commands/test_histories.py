"""Goal: on real servers a lake takes up another history type, and is made anew from its archive without losing a row.

Method: the shop's Bronze under a definition whose customers have history type 2, Silver and Gold in a place of their
own; customers change through the log. Then `maintain` and `rebuild`, the commands themselves: every row of Gold and of
the history has to be there again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batch.gold import plans
from batch.silver.versions import META
from config.dataset import SHIPPED
from tests.support.lake.shop_statements import line, new_id, order
from tests.support.lake.testbed import LakeTestbed

NOW, LATER = new_id(), new_id()
WITHOUT_RUN = "customers_history"


@pytest.fixture
def historian(testbed: LakeTestbed, tmp_path: Path) -> Iterator[LakeTestbed]:
    """The same shop, its customers kept with their history."""
    folder = tmp_path / "datasets" / "project_db"
    shutil.copytree(SHIPPED / "project_db", folder)
    definition = folder / "definition.yaml"
    text, count = re.subn(r"(- name: customers\n(?:.*\n)*?    history: )1", r"\g<1>2", definition.read_text())
    assert count == 1
    definition.write_text(text)
    roots = {f"{layer.upper()}_ROOT": f"s3a://{layer}/historian" for layer in ("silver", "gold")}
    with_history = LakeTestbed(
        testbed.stack, tmp_path / "historian", shell=testbed.shell, DATASETS_DIR=str(folder.parent), **roots
    )
    yield with_history
    with_history.close()
    for table, key in (("order_details", "order_id"), ("orders", "id")):  # the shop has no sales of the future
        testbed.change((f"DELETE FROM {table} WHERE {key} IN (%s, %s)", [NOW, LATER]))  # noqa: S608


def everything(testbed: LakeTestbed) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of Gold, and of the customers' history but for the run that wrote them."""
    names = [plan.name for plan in plans(testbed.definition)]
    kept = [*testbed.definition.table("customers").column_names, *(name for name in META if name != "_run_id")]
    queries = [*(f"SELECT * FROM {name}" for name in names), f"SELECT {', '.join(kept)} FROM {WITHOUT_RUN}"]  # noqa: S608
    found = testbed.ask(queries)
    return {name: sorted(rows, key=repr) for name, rows in zip([*names, WITHOUT_RUN], found, strict=True)}


@pytest.mark.nightly
def test_customers_with_a_history_are_rebuilt_row_for_row(testbed: LakeTestbed, historian: LakeTestbed) -> None:
    testbed.until_archived()
    historian.batch("run", "--wait")
    testbed.change(("UPDATE customers SET tier = 'first' WHERE id = 20", []))
    testbed.change(order(NOW, customer_id=20, at="2099-01-01 00:00:00"), line(NOW))
    testbed.change(("UPDATE customers SET tier = 'second' WHERE id = 20", []))
    testbed.change(order(LATER, customer_id=20, at="2025-01-01 00:00:00"), line(LATER))
    testbed.until_archived()
    historian.batch("run", "--wait")
    tiers = "SELECT tier, is_current FROM dim_customer WHERE customer_id = 20 ORDER BY valid_from, is_current"
    named = (
        "SELECT order_id, tier FROM fact_orders JOIN dim_customer USING (customer_sk) "
        "WHERE fact_orders.customer_id = 20 AND order_id IN (?, ?)"
    )
    versions = historian.gold(tiers)
    assert versions[1:] == [("first", False), ("second", True)]
    assert dict(historian.gold(named, NOW, LATER)) == {NOW: "second", LATER: versions[0][0]}
    before = everything(historian)
    maintained = historian.batch("maintain", "--wait", "--table", "customers", "--archive", "1d").out
    assert re.search(r"silver/customers .*files \d+ → \d+, stored [\d.,]+ MB → [\d.,]+ MB", maintained)
    assert "removed 0 archive objects" in maintained, "none is a day old"
    rebuilt = historian.batch("rebuild", "--wait", "--table", "customers").out
    assert "FAILED" not in rebuilt
    assert everything(historian) == before
    assert "nothing new: no table was written" in historian.batch("run", "--wait").out
    reconciled = historian.batch("reconcile", "--table", "dim_customer", code=None)
    assert "verdict: equal" in reconciled.out, reconciled.text
