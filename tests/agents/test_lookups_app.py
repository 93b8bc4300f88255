"""Goal: the agents of `streams.lookups` turn changes of rows into the look-ups that other services read.

Method: `agent.test_context()` with a stand-in partition for each pipeline; no server. What they would write to Redis is
kept by the stand-in: the topic is the kind of the look-up, the key its id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from streams import lookups as application
from streams.model.lookup import customer_entry
from streams.runtime.testing import StandIn
from tests.support.builders import created, deleted, payment_method_row, snapshot_read, updated

CUSTOMERS = "mysql.project_db.customers"
PAYMENT_METHODS = "mysql.project_db.payment_method"
ADA = {"id": 7, "name": "Ada", "email": "ada@example.org", "phone": None, "tier": "gold"}


@pytest.fixture
def customers() -> StandIn:
    return StandIn(application.app, pipeline="customer")


@pytest.fixture
async def agent() -> AsyncIterator[Any]:
    async with application.customers.test_context() as agent:
        yield agent


def written(stand_in: StandIn, kind: str) -> list[tuple[bytes | None, Any]]:
    """Id and value of every write of a kind; None deletes."""
    return [(r.key, None if r.value is None else msgspec.json.decode(r.value)) for r in stand_in.written(kind)]


async def test_a_row_becomes_a_look_up_with_every_column_as_the_source_has_it(agent: Any, customers: StandIn) -> None:
    await agent.put(customers.batch(CUSTOMERS, [(b"7", snapshot_read(ADA)), (b"8", created(ADA | {"id": 8}))]))
    assert written(customers, "customer") == [(b"7", ADA), (b"8", ADA | {"id": 8})]


async def test_several_changes_of_a_row_in_one_turn_are_one_write(agent: Any, customers: StandIn) -> None:
    silver = ADA | {"tier": "silver"}
    await agent.put(customers.batch(CUSTOMERS, [(b"7", created(ADA)), (b"7", updated(ADA, silver))]))
    assert written(customers, "customer") == [(b"7", silver)]


async def test_a_deleted_row_is_deleted_and_may_come_back(agent: Any, customers: StandIn) -> None:
    await agent.put(customers.batch(CUSTOMERS, [(b"7", created(ADA)), (b"7", deleted(ADA)), (b"7", None)]))
    await agent.put(customers.batch(CUSTOMERS, [(b"7", created(ADA))]))
    assert written(customers, "customer") == [(b"7", None), (b"7", ADA)]
    assert customers.counts["tombstones"] == 1


async def test_a_bad_record_is_kept_under_the_applications_name_and_costs_only_itself(
    agent: Any, customers: StandIn
) -> None:
    no_id, other_id = created({"name": "Nobody"}), created(ADA | {"id": 9})
    records = [(b"1", b"{"), (b"2", no_id), (b"3", other_id), (None, created(ADA)), (b"7", created(ADA))]
    await agent.put(customers.batch(CUSTOMERS, records))
    assert written(customers, "customer") == [(b"7", ADA)]
    dead = [(record.value, dict(record.headers)) for record in customers.written("dead_letters")]
    assert [value for value, _ in dead] == [b"{", no_id, other_id, created(ADA)]
    assert {headers["app"] for _, headers in dead} == {b"millrace-lookups"}
    assert [headers["offset"] for _, headers in dead] == [b"0", b"1", b"2", b"3"]


async def test_payment_methods_have_an_agent_and_a_kind_of_their_own() -> None:
    methods = StandIn(application.app, pipeline="payment_method")
    async with application.payment_methods.test_context() as agent:
        await agent.put(methods.batch(PAYMENT_METHODS, [(b"3", created(payment_method_row(3)))]))
    assert written(methods, "payment_method") == [(b"3", {"id": 3, "name": "Visa", "bank": "First Bank"})]


async def test_a_turn_that_fails_is_not_counted(agent: Any, customers: StandIn) -> None:
    before = application.processor.counts.copy()
    customers.fail_next = ConnectionError("Redis went away")
    batch = customers.batch(CUSTOMERS, [(b"7", created(ADA))])
    with pytest.raises(ConnectionError):
        await batch.submit(customer_entry)
    assert application.processor.counts == before


def test_the_application_has_two_pipelines_and_keeps_no_state() -> None:
    assert [(p.name, p.sources, p.table) for p in application.app.pipelines] == [
        ("customer", (CUSTOMERS,), None),
        ("payment_method", (PAYMENT_METHODS,), None),
    ]
    assert list(application.app.tables) == []
