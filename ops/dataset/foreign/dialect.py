"""What the drafting rules must know of an engine's types: their counterparts, and which are times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from config.definition import LogicalType
from ops.dataset.foreign.read import ForeignColumn

Typed = dict[str, Any]
"""The fields of a column in a definition that describe its type."""

MOST_DIGITS: Final = 38
UNLIMITED: Final = {"precision": MOST_DIGITS, "scale": 10}
"""Digits with which a number without a limit is drafted."""

_WHOLE: Final = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64, "year": 16}
_TEXTS: Final = {"char", "varchar", "enum", "set"}
_LONG_TEXTS: Final = {"tinytext", "text", "mediumtext", "longtext", "json"}
_PLAIN: Final = {
    "float": LogicalType.DOUBLE,
    "double": LogicalType.DOUBLE,
    "date": LogicalType.DATE,
    "datetime": LogicalType.TIMESTAMP,
    "timestamp": LogicalType.TIMESTAMP,
    "uuid": LogicalType.UUID,
}
_POSTGRES: Final = {
    "int2": LogicalType.INTEGER,
    "int4": LogicalType.INTEGER,
    "int8": LogicalType.BIGINT,
    "oid": LogicalType.BIGINT,
    "float4": LogicalType.DOUBLE,
    "float8": LogicalType.DOUBLE,
    "bool": LogicalType.BOOLEAN,
    "date": LogicalType.DATE,
    "timestamp": LogicalType.TIMESTAMP,
    "timestamptz": LogicalType.TIMESTAMP,
    "uuid": LogicalType.UUID,
    "time": LogicalType.TIME,
    "interval": LogicalType.INTERVAL,
    "bytea": LogicalType.BINARY,
    **dict.fromkeys(("_text", "_varchar", "_int2", "_int4", "_int8", "_bool", "_uuid"), LogicalType.ARRAY),
    **dict.fromkeys(("text", "name", "citext", "enum", "json", "jsonb", "xml", "inet", "cidr"), LogicalType.STRING),
}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """An engine's types.

    Attributes:
        typed: returns a column's type as a definition writes it; None if the type has no counterpart.
        remarks: returns what the reader of a definition should know about a column's type.
        times: names of the types with date and time.
        zoneless: name of the one among them that has no time zone.
        logs_cascades: whether the log has the changes that a foreign key makes in other tables.
    """

    engine: str
    typed: Callable[[ForeignColumn], Typed | None]
    remarks: Callable[[ForeignColumn], list[str]]
    times: frozenset[str]
    zoneless: str
    logs_cascades: bool


def _mysql_typed(column: ForeignColumn) -> Typed | None:
    kind, is_unsigned = column.data_type, "unsigned" in column.column_type
    if kind in _WHOLE:
        return {"type": LogicalType.INTEGER if _WHOLE[kind] + is_unsigned <= 32 else LogicalType.BIGINT}
    if kind in _TEXTS:
        return {"type": LogicalType.STRING, **({"length": column.length} if column.length else {})}
    if kind in _LONG_TEXTS:
        return {"type": LogicalType.STRING}
    if kind == "decimal" and (column.precision or 0) <= MOST_DIGITS:
        return {"type": LogicalType.DECIMAL, "precision": column.precision, "scale": column.scale}
    if kind == "bit" and column.precision == 1:
        return {"type": LogicalType.BOOLEAN}
    return {"type": _PLAIN[kind]} if kind in _PLAIN else None


def _mysql_remarks(column: ForeignColumn) -> list[str]:
    if column.column_type.startswith("tinyint(1)"):
        return [f"{column.name}: tinyint(1); the type can be boolean if the only values are 0 and 1"]
    if column.data_type == "bigint" and "unsigned" in column.column_type:
        return [f"{column.name}: unsigned; values above 9,223,372,036,854,775,807 are quarantined"]
    return []


def _postgres_typed(column: ForeignColumn) -> Typed | None:
    kind = column.data_type
    if kind in ("varchar", "bpchar"):
        return {"type": LogicalType.STRING, **({"length": column.length} if column.length else {})}
    if kind == "numeric":
        if column.precision is None:
            return {"type": LogicalType.DECIMAL, **UNLIMITED}
        scale = column.scale or 0
        fits = column.precision <= MOST_DIGITS and 0 <= scale <= column.precision
        return {"type": LogicalType.DECIMAL, "precision": column.precision, "scale": scale} if fits else None
    return {"type": _POSTGRES[kind]} if kind in _POSTGRES else None


def _postgres_remarks(column: ForeignColumn) -> list[str]:
    if column.data_type == "numeric" and column.precision is None:
        return [
            f"{column.name}: a number without a limit; those with more than {MOST_DIGITS - UNLIMITED['scale']} digits "
            f"before the point or {UNLIMITED['scale']} after it are quarantined"
        ]
    return []


MYSQL: Final = Dialect(
    engine="mysql",
    typed=_mysql_typed,
    remarks=_mysql_remarks,
    times=frozenset({"datetime", "timestamp"}),
    zoneless="datetime",
    logs_cascades=False,
)
POSTGRES: Final = Dialect(
    engine="postgres",
    typed=_postgres_typed,
    remarks=_postgres_remarks,
    times=frozenset({"timestamp", "timestamptz"}),
    zoneless="timestamp",
    logs_cascades=True,
)
DIALECTS: Final[Mapping[str, Dialect]] = {dialect.engine: dialect for dialect in (MYSQL, POSTGRES)}
