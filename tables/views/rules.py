"""Rules of the order completion that are worth a person's attention, beside those of every worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streams.runtime.web.rules import RULES, RUNBOOKS, Past, Rule, Verdict, grown
from streams.runtime.web.words import counted
from tables.views.lake import STALE_INTERVALS, STALE_S

_QUARTER_HOUR_S: Final = 900.0

SLOT_LAG_BYTES: Final = 2**30
"""Log of a PostgreSQL source that waits for the connector; the source's disk fills up with it, or drops it."""


def _overdue(past: Past) -> str | None:
    number = grown(past, lambda figures: figures.events.get("orders.overdue", 0), _QUARTER_HOUR_S)
    orders = counted(number, "order has", "orders have")
    return f"{orders} been incomplete for too long, reported in the last 15 minutes" if number else None


def _emitted_twice(past: Past) -> str | None:
    number = grown(past, lambda figures: figures.events.get("guard.emitted_twice", 0), _QUARTER_HOUR_S)
    return f"{counted(number, 'order was', 'orders were')} published by two applications" if number else None


def _held(past: Past) -> str | None:
    number = past.now.events.get("incomplete.held_by_another_deployment", 0)
    orders = counted(number, "complete order is", "complete orders are")
    return f"{orders} claimed by another deployment" if number else None


def _connector_down(past: Past) -> str | None:
    events = past.now.events
    number = events.get("connector.failed", 0)
    if events.get("connector.unanswered") and not number:  # a task that had failed before says more
        return "Kafka Connect does not answer any more"
    parts = counted(number, "part of the connector does", "parts of the connector do")
    return f"{parts} not run: {past.now.texts.get('connector.failure', '')}".rstrip(": ") if number else None


def _lake_different(past: Past) -> str | None:
    number = past.now.events.get("lake.tables_different", 0)
    return counted(number, "table of the lake differs", "tables of the lake differ") if number else None


def _lake_stale(past: Past) -> str | None:
    number = past.now.events.get("lake.tables_stale", 0)
    return f"{counted(number, 'Gold table is', 'Gold tables are')} too old" if number else None


ORDER_RULES: Final[Sequence[Rule]] = (
    *RULES,
    Rule(
        name="ConnectorDown",
        expression="millrace_connector_up == 0",
        for_s=60,
        verdict=Verdict.PERSON,
        summary="The connector or one of its tasks does not run",
        impact="No change of the source reaches Kafka; all are read later, as long as the source keeps its log.",
        do="millrace connector status",
        docs=f"{RUNBOOKS}/source-failover.md",
        find=_connector_down,
    ),
    Rule(
        name="LakeStale",
        expression=(
            "millrace_lake_table_age_seconds "
            f"> on (instance, dataset) group_left {STALE_INTERVALS} * millrace_lake_interval_seconds + {STALE_S:.0f}"
        ),
        for_s=0,
        verdict=Verdict.BEHIND,
        summary="A table of the lake is older than three intervals of the service",
        impact="Queries see the source as it was then; nothing is lost, the next run that succeeds takes in all.",
        do="millrace lake history",
        docs="docs/concepts/lake.md#what-is-visible",
        find=_lake_stale,
    ),
    Rule(
        name="LakeDifferent",
        expression="millrace_lake_tables_different > 0",
        for_s=0,
        verdict=Verdict.PERSON,
        summary="The last comparison found tables of the lake that differ from the source",
        impact="Queries see rows that the source does not have so, until they are repaired and compared again.",
        do="millrace lake reconcile --repair",
        docs=f"{RUNBOOKS}/reconcile-differs.md",
        find=_lake_different,
    ),
    Rule(
        name="SourceDiffers",
        expression="millrace_source_differences > 0",
        for_s=0,
        verdict=Verdict.PERSON,
        summary="A table of the source is not as the definition says",
        impact="Columns are left out or empty, records are dead letters, or the table's changes do not arrive.",
        do="millrace connector status",
        docs="docs/operate/schema-drift.md",
        find=None,
    ),
    Rule(
        name="SlotLag",
        expression=f"millrace_slot_lag_bytes > {SLOT_LAG_BYTES}",
        for_s=300,
        verdict=Verdict.PERSON,
        summary="The connector is more than 1 GiB of the source's log behind",
        impact="Changes arrive late, and the source keeps its log until its disk is full or its limit is reached.",
        do="millrace connector status",
        docs="docs/operate/postgres-source.md",
        find=None,
    ),
    Rule(
        name="RedisFillsUp",
        expression="predict_linear(millrace_redis_used_bytes[6h], 86400) > millrace_redis_limit_bytes",
        for_s=1_800,
        verdict=Verdict.PERSON,
        summary="The memory of the Redis with the locks is full within a day",
        impact="Redis then refuses new locks, and complete orders wait.",
        do="millrace doctor redis",
        docs=f"{RUNBOOKS}/redis-lost.md#redis-is-nearly-full",
        find=None,
    ),
    Rule(
        name="OrdersOverdue",
        expression='increase(millrace_orders_total{event="overdue"}[15m]) > 0',
        for_s=0,
        verdict=Verdict.PERSON,
        summary="Orders have been incomplete for longer than INCOMPLETE_AFTER_S",
        impact="They are not published before their row or their products arrive.",
        do='curl "http://127.0.0.1:6066/orders/incomplete?limit=20"',
        docs=f"{RUNBOOKS}/order-missing.md#it-waits-for-changes",
        find=_overdue,
    ),
    Rule(
        name="OrdersHeld",
        expression='millrace_orders_incomplete{reason="held_by_another_deployment"} > 0',
        for_s=300,
        verdict=Verdict.PERSON,
        summary="Complete orders are claimed by another deployment",
        impact="They wait until that deployment publishes them, or an operator releases its claims.",
        do="millrace locks list",
        docs=f"{RUNBOOKS}/order-missing.md#it-is-held",
        find=_held,
    ),
    Rule(
        name="EmittedTwice",
        expression='increase(millrace_guard_total{event="emitted_twice"}[15m]) > 0',
        for_s=0,
        verdict=Verdict.PERSON,
        summary="Two applications have published the same order",
        impact="Readers of `order_final` see these orders twice.",
        do="millrace locks list",
        docs=f"{RUNBOOKS}/redis-lost.md",
        find=_emitted_twice,
    ),
)
