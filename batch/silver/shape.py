"""Finds out what a changed definition means for a Silver table: wider types, or that it must be rebuilt from Bronze."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pyspark.sql.types import DataType, StructType

from batch.context import RunContext
from batch.delta.table import LakeTable
from batch.delta.widening import widen, wider_types
from batch.silver import rules
from batch.silver.history import history_table
from batch.silver.versions import META
from config.definition import Table

_OTHER: Final = "the definition's key, order of columns or history has changed"


@dataclass(frozen=True, kw_only=True)
class ShapeChange:
    """The change of a table's definition since its Silver table was written.

    Attributes:
        wider: the columns that get wider types, which is a change of metadata only.
        reason: why the table must be rebuilt from Bronze; empty if it need not be.
    """

    wider: Mapping[str, DataType] = field(default_factory=dict)
    reason: str = ""


def fingerprint(table: Table) -> str:
    """Return a hash of a table's key, columns and history; it changes when Silver has to change."""
    return _hash(table, {column.name: rules.spark_type(column) for column in table.columns})


def shape_change(table: Table, silver: LakeTable, done: Mapping[str, Any]) -> ShapeChange:
    """Return how the table's definition has changed; `done` is the progress of the Silver table."""
    if done.get("definition") in (None, fingerprint(table)):
        return ShapeChange()
    there = silver.at().schema
    now = {name: kind.simpleString() for name, kind in _types(there).items()}
    wanted = {column.name: rules.spark_type(column) for column in table.columns}
    if lacking := [name for name in wanted if name not in now]:
        return ShapeChange(reason=f"the definition has got columns: {', '.join(lacking)}")
    if lost := [name for name in now if name not in wanted and name not in META]:
        return ShapeChange(reason=f"the definition has lost columns: {', '.join(lost)}")
    found = _hash(table, {name: now[name] for name in wanted})
    if found == fingerprint(table):
        return ShapeChange(reason=f"{_OTHER}, or an earlier run ended while it changed types")
    if found != done["definition"]:
        return ShapeChange(reason=_OTHER)
    new = {name: DataType.fromDDL(kind) for name, kind in wanted.items()}
    wider = wider_types(there, new)
    if wider is None:
        changed = [f"{name} from {now[name]} to {kind}" for name, kind in wanted.items() if kind != now[name]]
        return ShapeChange(reason=f"types have changed, and not to wider ones: {', '.join(changed)}")
    return ShapeChange(wider=wider)


def with_wider_types(table: Table, silver: LakeTable, wider: Mapping[str, DataType], context: RunContext) -> None:
    """Give columns of a Silver table, and of its history, wider types; of tables that have them already, none."""
    history = history_table(table, context)
    for each in (history, silver):  # Silver last, because its types tell whether this was done
        if each is not None and each.exists():
            widen(
                each,
                {name: kind for name, kind in wider.items() if _types(each.at().schema)[name] != kind},
                run_id=context.run_id,
            )


def _types(schema: StructType) -> dict[str, DataType]:
    return {each.name: each.dataType for each in schema}


def _hash(table: Table, types: Mapping[str, str]) -> str:
    shape: list[Any] = [table.key, *types.items()]
    shape += [(table.history_name,)] if table.history_name else []
    return hashlib.md5(repr(shape).encode(), usedforsecurity=False).hexdigest()
