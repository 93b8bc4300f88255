"""Compare a live database with the topics `order_final` and `order_amended`, using the oracle."""

from __future__ import annotations

import time

from config.definition import Definition
from config.engines.base import SourceSettings
from config.settings import KafkaSettings
from ops.database import connected
from ops.dataset.final_topic import GROUP, FinalReader, FinalRecord
from ops.dataset.newest import stale_orders
from ops.dataset.oracle import Verdict, compare, expected_orders
from ops.topic_reader import TopicReader
from streams.topics import ORDER_AMENDED, ORDER_FINAL

SHORTEST_PAUSE_S = 0.5


def check(
    database: SourceSettings,
    kafka: KafkaSettings,
    definition: Definition,
    *,
    strict: bool = False,
    with_amendments: bool = False,
    timeout_s: float = 0.0,
) -> Verdict:
    """Compare `order_final` with the database until no order is missing or time is up; return the last verdict.

    With `with_amendments`, also find the orders whose newest record, in either topic, differs from the database.

    The database is read before the topic, so an order that is completed in between is not reported as missing.

    Raises:
        StackError: the database or Kafka can't be reached, or the dataset declares no completeness rule.
    """
    deadline = time.monotonic() + timeout_s
    records: list[FinalRecord] = []
    with (
        connected(database, definition.database, definition.schema) as connection,
        FinalReader(kafka.bootstrap, ORDER_FINAL) as reader,
    ):
        while True:
            began = time.monotonic()
            expected = expected_orders(connection, definition)
            records += reader.read_to_end()
            verdict = compare(expected, records, strict=strict)
            now = time.monotonic()
            if not verdict.missing or now >= deadline:
                break
            # Pause for as long as the comparison took, so that repeated checks do not keep the database busy.
            time.sleep(min(max(SHORTEST_PAUSE_S, now - began), max(deadline - now, 0.0)))
        if with_amendments:
            with TopicReader(kafka.bootstrap, ORDER_AMENDED, GROUP) as amended:
                verdict.stale = stale_orders(connection, definition, records, amended)
    return verdict
