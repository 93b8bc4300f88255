"""Parses the SQL file of a Gold table, `gold/<table>.sql`, whose header has lines of the form `-- name: value`.

kind            dimension or fact
key             the columns that identify a row, separated by commas
depends_on      the Silver tables that the query reads, for example `orders(id -> order_id)`: a row of `orders` affects
                the rows of this table whose `order_id` equals its `id`. If a Silver table is listed without
                parentheses, each of its rows affects all rows of this table.
inferred_from   for a dimension: the Silver columns that refer to it, for example `orders.customer_id`. A key that
                occurs only in these columns gets an inferred member until the dimension's own row arrives.
dimensions      for a fact: the dimensions that it refers to, for example `dim_customer(customer_id at ordered_at)`. If
                the dimension has SCD type 2, the fact gets a column `customer_sk` with the surrogate key of the version
                that was valid at `ordered_at`.
scd             SCD type of a dimension (see `batch.gold.scd`). 1: a row with the newest state; 2: a row for each
                version; 4: the newest state, and the versions in a second table `<name>_history`. Default: the history
                type of the source table in the dataset's definition.
partition       partition column of a fact
export          for a fact: folder below PROCESSED_ROOT that also has the rows, as a plain Parquet file
redis           for a fact: `rows`, if its rows are also in Redis
column          description of a column (see `batch.gold.columns`), one line per column

Comment lines before the header describe the table. The body is one Spark SQL query. Its tables are views of the Silver
tables, without deleted rows. Query columns whose names begin with `_` can be named in the header, but are not stored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from batch.gold.columns import column_faults, split_columns
from batch.gold.plan import Dependency, GoldPlan, Link
from config.definition import Definition, Table
from config.parameters import Value, named_in

REQUIRED: Final = ("kind", "key", "depends_on")
OPTIONAL: Final = ("inferred_from", "dimensions", "scd", "partition", "export", "redis")
_OF_RESULTS: Final = ("export", "redis")
"""Header keys that leave the table as it is."""

HISTORY_TYPES: Final = (1, 2, 4)

_HEADER: Final = re.compile(r"--\s*([a-z_]+)\s*:\s*(.*?)\s*$")
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_FOLDER: Final = r"[a-z0-9]+(-[a-z0-9]+)*"
_DEPENDENCY: Final = re.compile(rf"({_NAME})\s*(?:\(([^()]*)\))?")
_MAPPED: Final = re.compile(rf"({_NAME})\s*->\s*({_NAME})")
_REFERRING: Final = re.compile(rf"({_NAME})\.({_NAME})")
_LINK: Final = re.compile(rf"({_NAME})\(({_NAME}) at ({_NAME})\)")


_BETWEEN: Final = re.compile(
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)|(?:--[^\n]*|/\*(?!\+).*?\*/|\s)+""", re.DOTALL
)
"""A quoted part of a query, as a group; or what stands between two words: spaces and comments, but no hint."""


def parsed(text: str, name: str, definition: Definition) -> GoldPlan:
    """Parse the text of a SQL file into the plan of the Gold table `name`.

    Raises:
        ValueError: the text is malformed; the message has one line per fault, each starting with the header key.
    """
    columns, text = split_columns(text)
    lines = text.splitlines()
    values, query = _header_and_query(lines)
    parameters = _parameters(query, definition)
    plan = GoldPlan(
        name=name,
        kind="dimension" if values["kind"] == "dimension" else "fact",
        key=tuple(_listed(values["key"])),
        depends_on=tuple(_dependency(part) for part in _listed(values["depends_on"])),
        inferred_from=tuple(_referring(part) for part in _listed(values.get("inferred_from", ""))),
        links=tuple(_link(part) for part in _listed(values.get("dimensions", ""))),
        scd=int(values.get("scd", "1")),
        partition=values.get("partition"),
        query=query,
        fingerprint=_fingerprint(values, query, parameters),
        export=values.get("export"),
        is_in_redis="redis" in values,
        parameters=parameters,
        description=" ".join(_leading_comments(lines)),
        columns=columns,
    )
    faults = list(_plan_faults(plan, definition))
    if "scd" not in values and not faults:
        plan = replace(plan, scd=_history_type(plan, definition))
    faults += _history_faults(plan, definition)
    faults += column_faults(columns, key=plan.key, tables=plan.tables, definition=definition)
    if faults:
        raise ValueError("\n".join(faults))
    return plan


def _header_and_query(lines: list[str]) -> tuple[dict[str, str], str]:
    matches = [_HEADER.match(line) for line in lines]
    header = [(match[1], match[2]) for match in matches if match]
    query = "\n".join(line for line, match in zip(lines, matches, strict=True) if not match).strip().rstrip(";")
    faults = list(_header_faults(header))
    if not re.sub(r"--.*", "", query).strip():
        faults.append("query: the file has no query")
    if faults:
        raise ValueError("\n".join(faults))
    return dict(header), query


def _parameters(query: str, definition: Definition) -> dict[str, Value]:
    """Return the values of the parameters that a query names."""
    known = {parameter.name: parameter.typed for parameter in definition.parameters}
    named = named_in(query)
    if unknown := [name for name in named if name not in known]:
        listed = ", ".join(known) or "none"
        raise ValueError(f"query: unknown parameter {', '.join(map(repr, unknown))} (the definition has: {listed})")
    return {name: known[name] for name in named}


def _leading_comments(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("--") or _HEADER.match(line):
            return
        yield line.removeprefix("--").strip()


def _header_faults(header: list[tuple[str, str]]) -> Iterator[str]:
    names = [name for name, _ in header]
    known = (*REQUIRED, *OPTIONAL)
    yield from (f"{name}: unknown header key (known: {', '.join(known)})" for name in names if name not in known)
    yield from (f"{name}: is given twice" for name in sorted({name for name in names if names.count(name) > 1}))
    yield from (f"{name}: is missing" for name in REQUIRED if name not in names)
    yield from (f"{name}: is empty" for name, value in header if not value)
    values = dict(header)
    if values.get("kind", "fact") not in ("dimension", "fact"):
        yield f"kind: must be dimension or fact, not {values['kind']!r}"
    if values.get("scd", "1") not in map(str, HISTORY_TYPES):
        yield f"scd: must be 1, 2 or 4, not {values['scd']!r}"
    if not re.fullmatch(_FOLDER, values.get("export", "a")):
        yield f"export: {values['export']!r} must be the name of a folder: lower case, digits and -"
    if values.get("redis", "rows") != "rows":
        yield f"redis: must be rows, not {values['redis']!r}"
    for name in ("key", "partition"):
        wrong = [part for part in _listed(values.get(name, "")) if not re.fullmatch(_NAME, part)]
        yield from (f"{name}: {part!r} is not a valid column name" for part in wrong)


def _fingerprint(header: Mapping[str, str], query: str, parameters: Mapping[str, Value]) -> str:
    """Return a hash of a table's header, query and parameters that does not change with comments and spaces."""
    plain = _BETWEEN.sub(lambda found: found[1] or " ", query).strip()
    shape = sorted((name, value) for name, value in header.items() if name not in _OF_RESULTS)
    values = (sorted(parameters.items()),) if parameters else ()
    return hashlib.md5(repr((shape, plain, *values)).encode(), usedforsecurity=False).hexdigest()


def _plan_faults(plan: GoldPlan, definition: Definition) -> Iterator[str]:
    tables = {table.name: table.column_names for table in definition.tables}
    places = [("depends_on", each.table, [c for c, _ in each.columns]) for each in plan.depends_on]
    places += [("inferred_from", table, [column]) for table, column in plan.inferred_from]
    for place, table, columns in places:
        if table not in tables:
            yield f"{place}: the dataset has no table {table!r} (it has: {', '.join(tables)})"
        else:
            yield from (f"{place}: table {table!r} has no column {c!r}" for c in columns if c not in tables[table])
    names = [each.table for each in plan.depends_on]
    yield from (f"depends_on: {name!r} is listed twice" for name in sorted({n for n in names if names.count(n) > 1}))
    for dependency in plan.depends_on:
        mapped = tuple(name for _, name in dependency.columns)
        if not set(mapped) <= set(plan.key):
            yield f"depends_on: {dependency.table!r} must be mapped to columns of the key ({', '.join(plan.key)})"
        elif mapped and mapped != plan.mapped:
            yield f"depends_on: {dependency.table!r} must be mapped to the same columns as the tables before it"
    if plan.kind == "dimension" and len(plan.key) != 1:
        yield "key: a dimension must have exactly one key column, because -1 is the key of its unknown member"
    if plan.kind == "dimension" and plan.partition:
        yield "partition: allowed only for facts"
    if plan.kind == "fact" and plan.inferred_from:
        yield "inferred_from: allowed only for dimensions"
    if plan.kind == "dimension" and plan.links:
        yield "dimensions: allowed only for facts"
    yield from _result_faults(plan, definition)


def _result_faults(plan: GoldPlan, definition: Definition) -> Iterator[str]:
    """List why rows cannot be published elsewhere: no erasure would find them there."""
    if not (plan.export or plan.is_in_redis):
        return
    if plan.kind == "dimension":
        yield "export, redis: allowed only for facts"
    personal = {(table.name, column.name) for table in definition.tables for column in table.columns if column.personal}
    for column in plan.columns:
        if personal & {*column.sources}:
            yield f"export, redis: column {column.name!r} is personal data, which must stay in the lake"
    if plan.export and plan.export == definition.raw_records:
        yield f"export: {plan.export!r} is the folder of the raw records"
    if not plan.columns:
        yield "export, redis: describe the columns, so that personal data is told apart"


def _history_type(plan: GoldPlan, definition: Definition) -> int:
    """Return the history type of the dimension's source table, or 1 if its members do not all come from one table."""
    table = _member_table(plan, definition)
    return 1 if table is None else table.history


def _member_table(plan: GoldPlan, definition: Definition) -> Table | None:
    """Return the source table that has one row for each member of a dimension, or None if there is no such table."""
    if plan.kind != "dimension" or len(plan.depends_on) != 1:
        return None
    [concern] = plan.depends_on
    table = definition.table(concern.table)
    return table if tuple(own for own, _ in concern.columns) == table.key else None


def _history_faults(plan: GoldPlan, definition: Definition) -> Iterator[str]:
    if plan.scd == 1:
        return
    table = _member_table(plan, definition)
    if table is None:
        yield f"scd: type {plan.scd} requires a dimension that depends on one table, mapped by the key of that table"
    elif table.history_name is None:
        yield f"scd: type {plan.scd} requires `history: {plan.scd}` for table {table.name!r} in the definition"


def _listed(value: str) -> list[str]:
    """Split a header value at its commas, except commas inside parentheses."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", value) if part.strip()]


def _dependency(text: str) -> Dependency:
    match = _DEPENDENCY.fullmatch(text)
    pairs = [_MAPPED.fullmatch(part) for part in _listed(match[2] or "")] if match else []
    if match is None or None in pairs or (match[2] is not None and not pairs):
        raise ValueError(f"depends_on: {text!r} must look like orders(id -> order_id)")
    return Dependency(table=match[1], columns=tuple((pair[1], pair[2]) for pair in pairs if pair))


def _link(text: str) -> Link:
    match = _LINK.fullmatch(text)
    if match is None:
        raise ValueError(f"dimensions: {text!r} must look like dim_customer(customer_id at ordered_at)")
    return Link(dimension=match[1], key=match[2], at=match[3])


def _referring(text: str) -> tuple[str, str]:
    match = _REFERRING.fullmatch(text)
    if match is None:
        raise ValueError(f"inferred_from: {text!r} must look like orders.customer_id")
    return match[1], match[2]
