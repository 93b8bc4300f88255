"""Goal: a source whose names have capitals reaches the lake whole, change by change.

Method: changes of one customer in an archive in a folder.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from batch import bronze
from batch.gold import plans
from batch.silver import refine
from config.dataset import load_definition
from config.lake_names import in_lake
from tests.support.lake.bronze_testbed import Archive, envelope, run_context

SOURCE = load_definition("online_store")
STORE = in_lake(SOURCE)
CURRENT = [plan for plan in plans(STORE) if plan.versions_of is None]
CUSTOMER = {
    "CustomerId": 1,
    "Name": "Zoë",
    "Email": "zoe@example.com",
    "PhoneNumber": None,
    "Country": "DE",
    "CreatedAt": "2025-01-01T00:00:00Z",
    "UpdatedAt": "2025-01-01T00:00:00Z",
}


def test_insert_update_and_delete_of_a_customer_are_three_versions(spark: SparkSession, tmp_path: Path) -> None:
    changed = CUSTOMER | {"PhoneNumber": "+49 1", "UpdatedAt": "2025-02-01T00:00:00Z"}
    archive = Archive(tmp_path, f"{SOURCE.topic_prefix}.Customers")
    archive.put(envelope("c", CUSTOMER, pos=1), envelope("u", changed, pos=2), envelope("d", changed, pos=3))
    context, table = run_context(spark, tmp_path, definition=STORE), STORE.table("customers")
    bronze.land(table, context)
    refine.refine(table, context)
    history = context.table("silver", "customers_history").read()
    found = history.orderBy("_sequence").select("customer_id", "phone_number", "_deleted").collect()
    assert [tuple(row) for row in found] == [(1, None, False), (1, "+49 1", False), (1, "+49 1", True)]
    newest = context.table("silver", "customers").read().select("name", "country", "_deleted").collect()
    assert [tuple(row) for row in newest] == [("Zoë", "DE", True)]
