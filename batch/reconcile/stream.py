"""Checks that each order that is complete in the source database is in the topic `order_final` exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from batch.errors import BatchError
from batch.reconcile.buckets import Pair, key_text
from batch.reconcile.verdict import Finding
from config.definition import Completeness, Definition
from config.engines.base import Connection
from streams.adapters.committed_reader import CommittedReader, TopicError
from streams.topics import ORDER_FINAL


def compare_stream(
    connection: Connection, definition: Definition, rule: Completeness, bootstrap: str, pause: Callable[[], None]
) -> Finding:
    """Check that `order_final` has exactly one record per complete order; recheck missing orders after a pause.

    An order that is in the topic but not complete in the source is not an error: the source changed or deleted the
    order after it had been complete.

    Raises:
        BatchError: the database or Kafka cannot be read.
    """
    times: Counter[str] = Counter()

    def visit(key: bytes | None, _value: bytes | None) -> None:
        times[(key or b"").decode("utf-8", "backslashreplace")] += 1

    try:
        with CommittedReader(bootstrap, ORDER_FINAL, "millrace-reconcile") as reader:
            complete = complete_orders(connection, definition, rule)
            reader.visit_to_end(visit)
            if not complete <= times.keys():
                pause()
                complete &= complete_orders(connection, definition, rule)
                reader.visit_to_end(visit)
    except TopicError as error:
        raise BatchError(str(error), layer="stream", table=ORDER_FINAL) from None
    missing = {key_text([order]): Pair("complete", None) for order in complete - times.keys()}
    repeated = {key_text([order]): count for order, count in times.items() if count > 1}
    return Finding(
        name=ORDER_FINAL,
        key=definition.table(rule.parent).key,
        source_rows=len(complete),
        lake_rows=len(times),
        rows=missing | {key: Pair("once", f"{count} times") for key, count in repeated.items()},
        note=f"({len(repeated):,} repeated)" if repeated else "",
        how=dict.fromkeys(missing, "is complete in the source, and missing in the topic")
        | {key: f"is in the topic {count} times" for key, count in repeated.items()},
    )


def complete_orders(connection: Connection, definition: Definition, rule: Completeness) -> set[str]:
    """Return the ids of the orders that are currently complete in the source."""
    parent, children = definition.table(rule.parent), definition.table(rule.children)
    quoted = connection.quoted
    order, child, expected = map(quoted, (str(parent.topic_key), str(children.topic_key), rule.expected_column))
    query = f"""
        SELECT o.{order} FROM {quoted(parent.name)} AS o JOIN (
            SELECT {child} AS parent, COUNT(*) AS there
            FROM {quoted(children.name)} WHERE quantity >= 1 GROUP BY {child}
        ) AS children ON children.parent = o.{order}
        WHERE o.{expected} >= 1 AND children.there >= o.{expected}
    """  # noqa: S608 - identifiers of a definition
    return {str(row[0]) for row in connection.rows(query)}
