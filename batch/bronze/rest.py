"""Values that the source delivers in columns that the definition lacks: Bronze keeps them in the column `_rest`.

`_rest` is a JSON object from column names to texts as they were delivered; it is NULL if a row has no such values. When
the definition gets one of these columns later, Silver takes the values of older rows from there. The names of all
columns that a table has kept this way are part of its progress, so that no other column is searched for in `_rest`.

Columns that the connector's `column.exclude.list` leaves out on purpose are not kept. The feed `jdbc` reads the
columns of the definition alone, and the whole table again when the definition gets a column, so its `_rest` is NULL.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.connector_text import canonical_text
from batch.bronze.progress import KEPT
from batch.storage import canonical
from config.definition import Definition, Table
from config.left_out import left_out
from config.naming import source_schema

REST: Final = "_rest"

_MAP: Final = "MAP<STRING, STRING>"
_MORE: Final = "_more"


def rest_sql(table: Table, definition: Definition, row: str) -> str:
    """Return a Spark SQL expression for `_rest`, given one for a map from column names to texts."""
    known = ", ".join(f"'{name}'" for name in table.lake_columns)
    patterns = [_literal(pattern) for pattern in left_out(definition)]
    column = _literal(f"{source_schema(definition)}.{table.source_name}.")
    excluded = "".join(f" AND NOT concat({column}, name) RLIKE {pattern}" for pattern in patterns)
    others = f"map_filter({row}, (name, value) -> value IS NOT NULL AND name NOT IN ({known}){excluded})"
    return f"nullif(to_json({others}), '{{}}')"


def with_kept(progress: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a copy of a Bronze table's progress that lists these columns, besides earlier ones, as kept in `_rest`."""
    found = sorted({*progress.get(KEPT, ()), *names})
    return {**progress, KEPT: found} if found else dict(progress)


def filled(rows: DataFrame, table: Table, progress: Mapping[str, Any]) -> DataFrame:
    """Fill NULL in columns of Bronze rows with the values that `_rest` has, as canonical text.

    The hashes of these rows become those of rows that are landed with the present definition.

    Args:
        progress: the progress of the Bronze table.
    """
    kept: Collection[str] = progress.get(KEPT, ())
    columns = [column for column in table.columns if column.source_name in kept]
    if not columns or REST not in rows.columns:
        return rows
    texts = {column.name: canonical_text(column, f"{_MORE}['{column.source_name}']") for column in columns}
    owned = {name: f"coalesce(`{name}`, {text})" if name in rows.columns else text for name, text in texts.items()}
    more = rows.withColumn(_MORE, F.from_json(REST, _MAP))
    complete = more.withColumns({name: F.expr(text) for name, text in owned.items()}).drop(_MORE)
    is_whole = {*table.column_names} <= {*complete.columns}
    return complete.withColumn("_row_hash", F.expr(canonical.row_hash(table.column_names))) if is_whole else complete


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
