"""How PostgreSQL's types are read: the logical type of each, and the canonical text of its values."""

from __future__ import annotations

from typing import Final

from config.definition import LogicalType

# A text that is not a time or date of four-digit years stays as PostgreSQL writes it; Silver quarantines its row.
_IS_PLAIN: Final = "{{0}} BETWEEN '0001-01-01' AND '9999-12-31{0}'"
VALUES: Final = {
    LogicalType.BOOLEAN: "CAST(CAST({0} AS int) AS text)",
    LogicalType.DATE: f"CASE WHEN {_IS_PLAIN.format('')} THEN to_char({{0}}, 'YYYY-MM-DD') ELSE {{0}}::text END",
    LogicalType.TIMESTAMP: f"CASE WHEN {_IS_PLAIN.format(' 23:59:59.999999')} "
    "THEN to_char({0}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE {0}::text END",
    # Not a cast, which would cut the spaces at the end of a char(n).
    LogicalType.STRING: "CASE WHEN {0} IS NOT NULL THEN concat({0}) END",
    # `batch.storage.canonical.double_text` in SQL.
    LogicalType.DOUBLE: "CASE WHEN {0} = 0 THEN '0' WHEN {0}::text = 'NaN' THEN 'nan' "
    "WHEN {0}::text LIKE '%Infinity' THEN replace({0}::text, 'Infinity', 'inf') "
    "WHEN abs({0}) < 1e-15 OR (abs({0}) >= 1e15 AND {0} = trunc({0}::float8)) THEN replace({0}::text, 'e+', 'e') "
    "ELSE {0}::text::numeric::text END",
}
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
}
