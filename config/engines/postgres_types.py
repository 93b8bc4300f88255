"""The types of PostgreSQL: how their values are written as canonical text, and why some cannot be used.

Every type that can be used is one whose values the connector and the database write alike, or can be made to;
docs/reference/postgres-types.md has an example of each, which a test runs.
"""

from __future__ import annotations

from typing import Final

from config.definition import Column, LogicalType

# Only times and dates of four-digit years are written without more ado; Silver quarantines rows with others.
_IS_PLAIN: Final = "{{0}} BETWEEN '0001-01-01' AND '9999-12-31{0}'"
_FAR: Final = "WHEN NOT isfinite({{0}}) THEN {{0}}::text WHEN {{0}} > '1000-01-01' THEN {0} ELSE {0} || ' BC' END"
_DAY: Final = "to_char({0}, 'YYYY-MM-DD')"
_TIME: Final = "to_char({0}, 'YYYY-MM-DD HH24:MI:SS.US')"
_PARTS: Final = {"year": "Y", "month": "M", "day": "DT", "hour": "H", "minute": "M"}
_INTERVAL: Final = ", ".join(f"extract({part} FROM {{0}})::bigint, '{letters}'" for part, letters in _PARTS.items())
_VALUES: Final = {
    LogicalType.BOOLEAN: "CAST(CAST({0} AS int) AS text)",
    LogicalType.DATE: f"CASE WHEN {_IS_PLAIN.format('')} THEN {_DAY} {_FAR.format(_DAY)}",
    LogicalType.TIMESTAMP: f"CASE WHEN {_IS_PLAIN.format(' 23:59:59.999999')} THEN {_TIME} {_FAR.format(_TIME)}",
    LogicalType.TIME: "to_char({0}, 'HH24:MI:SS.US')",
    LogicalType.BINARY: "encode({0}, 'hex')",
    LogicalType.ARRAY: "to_json({0})::text",
    # All parts, as the connector writes them; PostgreSQL's own ISO form leaves out those that are 0.
    LogicalType.INTERVAL: f"CASE WHEN {{0}} IS NOT NULL THEN concat('P', {_INTERVAL}, "
    "extract(second FROM {0})::float8::numeric, 'S') END",
    # Not a cast, which would cut the spaces at the end of a char(n).
    LogicalType.STRING: "CASE WHEN {0} IS NOT NULL THEN concat({0}) END",
    # `batch.storage.canonical.double_text` in SQL.
    LogicalType.DOUBLE: "CASE WHEN {0} = 0 THEN '0' WHEN {0}::text = 'NaN' THEN 'nan' "
    "WHEN {0}::text LIKE '%Infinity' THEN replace({0}::text, 'Infinity', 'inf') "
    "WHEN abs({0}) < 1e-15 OR (abs({0}) >= 1e15 AND {0} = trunc({0}::float8)) THEN replace({0}::text, 'e+', 'e') "
    "ELSE {0}::text::numeric::text END",
}
# A value with more digits stays as it is, so that rounding hides no difference.
_DECIMAL: Final = "CASE WHEN {0} = round({0}, {1}) THEN round({0}, {1})::text ELSE {0}::text END"

KINDS: Final = {
    LogicalType.UUID: {"uuid", "bpchar", "varchar", "text"},
    LogicalType.STRING: {"text", "varchar", "bpchar", "name", "citext", "enum", "json", "jsonb", "xml", "inet", "cidr"},
    LogicalType.INTEGER: {"int2", "int4"},
    LogicalType.BIGINT: {"int2", "int4", "int8", "oid"},
    LogicalType.DECIMAL: {"numeric"},
    LogicalType.DOUBLE: {"float4", "float8"},
    LogicalType.BOOLEAN: {"bool"},
    LogicalType.DATE: {"date"},
    LogicalType.TIMESTAMP: {"timestamp", "timestamptz"},
    LogicalType.TIME: {"time"},
    LogicalType.INTERVAL: {"interval"},
    LogicalType.BINARY: {"bytea"},
    LogicalType.ARRAY: {"_text", "_varchar", "_int2", "_int4", "_int8", "_bool", "_uuid"},
}
"""Names of PostgreSQL's types, as in `pg_type`, that can be read as each logical type."""

UNBOUNDED: Final = {"text", "varchar", "citext", "json", "jsonb", "xml", "bytea", *KINDS[LogicalType.ARRAY]}
"""Types whose values may have up to a gigabyte."""

REFUSED: Final = {
    "timetz": "the connector turns it into UTC, so its zone is lost: use timestamptz",
    "bit": "the connector writes its bits as base64: use boolean, or bytea",
    "varbit": "the connector writes its bits as base64: use bytea",
    "money": "its text depends on the server's lc_monetary: use numeric",
    "_float4": "the connector writes its numbers differently from the database: use a table of its own",
    "_float8": "the connector writes its numbers differently from the database: use a table of its own",
    "_numeric": "the connector writes its numbers as texts: use a table of its own",
    "point": "the connector writes it as an object of its own: use two columns",
    "hstore": "the connector writes it as JSON in an order of its own: use jsonb",
    "tsvector": "it is made of other columns: leave it out",
}
"""Types that are refused, and why; ranges, composite types and others have no reason of their own here."""

CURE: Final = "leave the column out of the definition, or add a generated column of another type"


def size_text(column: Column, name: str) -> str:
    """Return an expression for the number of bytes of a column's canonical text, as a bigint."""
    if column.type is LogicalType.BINARY:
        return f"2 * octet_length({name})::bigint"
    return f"octet_length({name}::text)::bigint"


def value_text(column: Column, name: str) -> str:
    """Return an expression for the canonical text of a column's value; `name` is the quoted name of the column."""
    if column.type is LogicalType.DECIMAL and column.scale is not None:
        return _DECIMAL.format(name, column.scale)
    return _VALUES.get(column.type, "CAST({0} AS text)").format(name)
