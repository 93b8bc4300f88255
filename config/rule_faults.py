"""Find contradictions between a quality rule and the tables of its definition."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterator

from config.definition import (
    Ascending,
    AtMost,
    Definition,
    Forward,
    LogicalType,
    NotNull,
    Pattern,
    Range,
    Reference,
    Rule,
    Table,
    Unique,
    bound_text,
)

_ORDERED = frozenset(
    {LogicalType.INTEGER, LogicalType.BIGINT, LogicalType.DECIMAL, LogicalType.DATE, LogicalType.TIMESTAMP}
)
"""Types whose values have an order that nobody disputes."""

_NUMBERS = frozenset({LogicalType.INTEGER, LogicalType.BIGINT, LogicalType.DECIMAL})
"""Types whose values can be compared with each other exactly."""


def repeated_rules(table: Table) -> Iterator[str]:
    """List the rules of a table that check the same columns for the same as a former rule, as "key path: fault".

    A row and the counts of a run name a rule by its check and columns, so one of the two actions would be ignored.
    """
    seen: dict[tuple[str, ...], int] = {}
    for index, rule in enumerate(table.rules):
        check = str(type(rule).__struct_config__.tag)
        first = seen.setdefault((check, *_columns(rule)), index)
        if first != index:
            listed = ", ".join(_columns(rule))
            yield f"rules[{index}].check: rules[{first}] is a {check!r} of {listed} already: make one rule of the two"


def _columns(rule: Rule) -> tuple[str, ...]:
    return rule.columns if isinstance(rule, Unique | Ascending) else (rule.column,)  # type: ignore[attr-defined]


def rule_faults(definition: Definition, table: Table, rule: Rule) -> Iterator[str]:
    """List what is wrong with a quality rule of a table, each as "key path: fault"."""
    columns = _columns(rule)
    if isinstance(rule, NotNull) and rule.column in table.key and rule.action == "warn":
        yield "action: must be quarantine or fail, not warn: Silver has no row with NULL in its key"
    yield from (f"column: column {name!r} does not exist" for name in columns if name not in table.column_names)
    if isinstance(rule, Reference):
        parents = [t for t in definition.tables if t.name == rule.table]
        if not parents:
            yield f"table: table {rule.table!r} does not exist"
        elif len(parents[0].key) != 1:
            yield f"table: the key of table {rule.table!r} must have one column, not {len(parents[0].key)}"
    elif isinstance(rule, AtMost):
        yield from _limit_faults(definition, table, rule)
    elif isinstance(rule, Forward):
        yield from _order_faults(table, rule)
    elif isinstance(rule, Pattern):
        try:
            re.compile(rule.pattern)
        except re.error as error:
            yield f"pattern: is not a valid regular expression: {error}"
    elif isinstance(rule, Range):
        yield from _range_faults(table, rule)
    elif isinstance(rule, Ascending):
        types = {column.type for column in table.columns if column.name in rule.columns}
        if len(types) > 1 or types - _ORDERED:
            listed = ", ".join(sorted(types))
            yield f"columns: must all be numbers, dates or times, and of one type, not of {listed}"


def _limit_faults(definition: Definition, table: Table, rule: AtMost) -> Iterator[str]:
    if rule.action != "warn":
        yield f"action: must be warn, not {rule.action}: either of the two rows may be the wrong one"
    if rule.by not in table.column_names:
        yield f"by: column {rule.by!r} does not exist"
    others = [each for each in definition.tables if each.name == rule.table]
    if not others:
        yield f"table: table {rule.table!r} does not exist"
    elif len(others[0].key) != 1:
        yield f"table: the key of table {rule.table!r} must have one column, not {len(others[0].key)}"
    elif rule.of not in others[0].column_names:
        yield f"of: table {rule.table!r} has no column {rule.of!r}"
    else:
        columns = [(rule.column, table), (rule.of, others[0])]
        kinds = [column.type for name, each in columns for column in each.columns if column.name == name]
        if not _NUMBERS.issuperset(kinds):
            yield f"of: both columns must be numbers, not {' and '.join(kinds)}"


def _order_faults(table: Table, rule: Forward) -> Iterator[str]:
    if rule.action != "warn":
        yield f"action: must be warn, not {rule.action}: either of the two versions may be the wrong one"
    yield from (f"values: {value!r} is named twice" for value, count in Counter(rule.values).items() if count > 1)
    types = {column.type for column in table.columns if column.name == rule.column}
    yield from (f"column: must be of type string, not {kind}" for kind in types if kind is not LogicalType.STRING)


def _range_faults(table: Table, rule: Range) -> Iterator[str]:
    low, high = rule.min, rule.max
    if not rule.bounds:
        yield "min: a range needs min, max or both"
    are_comparable = isinstance(low, datetime.date) is isinstance(high, datetime.date)
    if low is not None and high is not None and are_comparable and low > high:  # type: ignore[operator]
        yield f"min: {bound_text(low)} is above max {bound_text(high)}"
    for column in table.columns:
        if column.name == rule.column:
            of_days = column.type in (LogicalType.DATE, LogicalType.TIMESTAMP)
            kind = "a day such as 2000-01-31" if of_days else "a number"
            wrong = [name for name, bound in rule.bounds.items() if isinstance(bound, datetime.date) is not of_days]
            yield from (f"{name}: must be {kind}: {column.name!r} is of type {column.type}" for name in wrong)
