"""Contradictions inside the parts of a definition that stand by themselves, each as "key path: what is wrong"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the shapes are there, and ask here
    from config.definition import Completeness, Definition, OrdersGenerator, Table


def subject_faults(tables: Sequence[Table]) -> Iterator[str]:
    """Which table has the rows of a person, and which of its columns are that person's, has to be clear."""
    seen: dict[str, str] = {}
    for index, table in enumerate(tables):
        personal = [column.name for column in table.columns if column.personal]
        place = f"tables[{index}]"
        yield from (f"{place}.columns: {name!r} is of the key, which stays" for name in personal if name in table.key)
        if table.subject is None:
            yield from (f"{place}.columns: {name!r} can't be personal: the table has no subject" for name in personal)
            continue
        if not personal:
            yield f"{place}.subject: none of the columns is personal"
        if len(table.key) != 1:
            yield f"{place}.subject: needs a key of one column, by which a person is named"
        if table.subject in seen:
            yield f"{place}.subject: {table.subject!r} is the table {seen[table.subject]!r} already"
        seen[table.subject] = table.name


def completeness_faults(definition: Definition, rule: Completeness) -> Iterator[str]:
    """What of it the tables lack."""
    tables = {table.name: table for table in definition.tables}
    parent, children = tables.get(rule.parent), tables.get(rule.children)
    if parent is None:
        yield f"expected: table {rule.parent!r} does not exist"
    elif rule.expected_column not in parent.column_names:
        yield f"expected: table {rule.parent!r} has no column {rule.expected_column!r}"
    elif rule.expected_column not in _whole_number_columns(parent):
        yield f"expected: column {rule.expected_column!r} must hold whole numbers"
    if children is None:
        yield f"children: table {rule.children!r} does not exist"
    for place, table in (("expected", parent), ("children", children)):
        if table is not None and table.topic_key is None:
            yield f"{place}: table {table.name!r} needs a topic_key, so that parents and children meet"


def _whole_number_columns(table: Table) -> set[str]:
    return {column.name for column in table.columns if column.type in ("integer", "bigint")}


def generator_faults(generator: OrdersGenerator) -> Iterator[str]:
    """What its figures contradict."""
    most = len(generator.line_weights) * generator.orders
    if not generator.orders <= generator.order_details <= most:
        yield f"order_details: must be from {generator.orders} to {most}: 1 to {len(generator.line_weights)} an order"
    if len(generator.line_weights) > generator.products:
        yield "line_weights: an order can't have more lines than there are products"
    for name in ("line_weights", "hour_weights", "weekday_weights"):
        if sum(getattr(generator, name)) <= 0:
            yield f"{name}: at least one weight must be above 0"
