"""Finds the reasons why rows may differ from the source: pending changes and quarantined rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze import progress as bronze_progress
from batch.bronze.envelope import UNREADABLE
from batch.bronze.large_rows import Sizes, long_columns
from batch.delta.table import LakeTable
from batch.pipeline.manifest import Manifest
from batch.pipeline.workspace import Workspace
from batch.reconcile.buckets import key_text
from batch.reconcile.explained import Explained
from batch.reconcile.pending_changes import pending_changes
from batch.reconcile.queries import count_without_key
from batch.storage import canonical
from config.definition import Table
from config.engines.base import Connection
from streams.topics import topic_under

EXPLAINED_KEYS_MAX: Final = 20_000
"""Maximum number of explained rows whose values are read; above it, every row of the table counts as explained."""

KEY_TEXT: Final = "_there_key"
"""Name of the text of a key beside the columns of a table, none of which may begin like this."""

_KEYS_PER_QUERY: Final = 1_000


@dataclass(kw_only=True)
class Lookup:
    """Finds pending changes and quarantined rows of one dataset; `bootstrap` is Kafka's address, if it has topics."""

    workspace: Workspace
    spark: SparkSession
    connection: Connection
    bootstrap: str | None
    _quarantined_keys: dict[str, dict[str, bool]] | None = field(default=None, init=False)

    def pending(self, table: Table, manifest: Manifest, differing: Collection[str]) -> Explained:
        """Return the rows with changes that Bronze, at its version in the manifest, has not read yet.

        Args:
            differing: keys that differ in Bronze, to which the search is limited if the table is read by JDBC.
        """
        done = manifest.progress.get(f"bronze/{table.name}", {})
        if f"bronze/{table.name}" not in manifest.versions:
            return Explained(is_all=True)
        if table.feed == "jdbc":
            keys = self._changed_since(table, bronze_progress.anchor(done), differing)
            return Explained(keys=keys)
        topic = topic_under(self.workspace.definition.topic_prefix, table.source_name)
        positions = bronze_progress.positions(done, topic)
        assert self.bootstrap is not None, "a table that is fed by a topic needs Kafka"
        return pending_changes(self.bootstrap, topic, table, positions)

    def without_key(self, table: Table) -> int:
        """Return the number of rows of the source with NULL in their key, which are not compared."""
        return int(self.connection.value(count_without_key(self.connection.engine, table)))

    def quarantined(self, table: Table, keys: Collection[str]) -> set[str]:
        """Return those of the given keys that have a row in the quarantine."""
        return {key for key in keys if key in self._quarantine_of(table)}

    def too_large(self, table: Table, keys: Collection[str]) -> set[str]:
        """Return those of the given keys that are in the quarantine because their rows are too large to be read.

        The source is asked again: since then, a row may have become smaller, and so an ordinary difference.
        """
        put_aside = sorted(key for key in keys if self._quarantine_of(table).get(key))
        columns = long_columns(self.connection, table) if put_aside else []
        if not columns:
            return set()
        engine = self.connection.engine
        sizes = Sizes(columns=columns, allowed=self.workspace.settings.row_max_bytes)
        key = engine.row([table.column(name) for name in table.key])
        sized = f"SELECT {key} AS k, {sizes.size(engine)} AS size FROM {engine.quoted(table.source_name)}"  # noqa: S608
        large = f"SELECT k FROM ({sized}) AS sized WHERE size > {sizes.allowed}"  # noqa: S608
        return {row["k"] for row in self.connection.dictionaries(large)} & {*put_aside}

    def _quarantine_of(self, table: Table) -> Mapping[str, bool]:
        """Return the keys of the table's rows in the quarantine, and whether they could not be read."""
        if self._quarantined_keys is None:
            self._quarantined_keys = self._read_quarantine()
        return self._quarantined_keys.get(table.name, {})

    def with_values(self, table: Table, explained: Explained, manifest: Manifest) -> Explained:
        """Return the explained rows with their states in the source and in Silver added to `rows`."""
        if explained.is_all or len(explained.keys) > EXPLAINED_KEYS_MAX:
            return Explained(is_all=True)
        rows = [*explained.rows, *self._source_rows(table, explained.keys)]
        version = manifest.versions.get(f"silver/{table.name}")
        if version is not None:
            rows += self._silver_rows(table, version, explained.keys)
        return Explained(keys=explained.keys, rows=rows)

    def _changed_since(self, table: Table, anchor: str, differing: Collection[str]) -> set[str]:
        """Return the differing keys that the next JDBC run will read; without a cursor, it reads the whole table.

        A row with a time in the future is left out: the window of no run before this time reads it.
        """
        if table.cursor is None:
            return set(differing)
        now = canonical.time_text(datetime.fromtimestamp(self.connection.engine.time_ms(self.connection) / 1000, UTC))
        rows = [(row[KEY_TEXT], row[table.cursor]) for row in self._source_rows(table, differing)]
        return {key for key, cursor in rows if cursor is None or anchor <= _canonical(cursor) <= now}

    def _source_rows(self, table: Table, keys: Collection[str]) -> Iterator[Mapping[str, Any]]:
        by_name = {column.name: column for column in table.columns}
        engine = self.connection.engine
        key = engine.row([by_name[name] for name in table.key])
        named = (f"{engine.quoted(source)} AS {engine.quoted(name)}" for source, name in table.lake_columns.items())
        keyed = f"SELECT {', '.join(named)}, {key} AS {KEY_TEXT} FROM {engine.quoted(table.source_name)}"  # noqa: S608
        ordered = sorted(keys)
        for start in range(0, len(ordered), _KEYS_PER_QUERY):
            some = ordered[start : start + _KEYS_PER_QUERY]
            holders = ", ".join(["%s"] * len(some))
            query = f"SELECT * FROM ({keyed}) AS keyed WHERE {KEY_TEXT} IN ({holders})"  # noqa: S608
            yield from self.connection.dictionaries(query, some)

    def _silver_rows(self, table: Table, version: int, keys: Collection[str]) -> list[Mapping[str, Any]]:
        if not keys:
            return []
        by_name = {column.name: column for column in table.columns}
        key = F.expr(canonical.spark_text([by_name[name] for name in table.key]))
        silver = LakeTable(self.spark, self.workspace.lake.table("silver", table.name), f"silver/{table.name}")
        found = silver.read(version).where(key.isin(sorted(keys))).select(*table.column_names)
        return [row.asDict() for row in found.collect()]

    def _read_quarantine(self) -> dict[str, dict[str, bool]]:
        quarantine = LakeTable(self.spark, self.workspace.lake.quarantine(), "silver/quarantine")
        found: dict[str, dict[str, bool]] = {}
        if not quarantine.exists():
            return found
        names = {table.name: table.key for table in self.workspace.definition.tables}
        rows = quarantine.read().where("action = 'quarantine' AND key IS NOT NULL").select("table", "key", "rule")
        for row in rows.collect():
            if row["table"] in names:
                values = msgspec.json.decode(row["key"])
                key = key_text([values.get(name) for name in names[row["table"]]])
                of_table = found.setdefault(row["table"], {})
                of_table[key] = of_table.get(key, False) or row["rule"] == UNREADABLE
        return found


def _canonical(value: object) -> str:
    """Return the canonical text of a cursor value, in which times have microseconds."""
    if not isinstance(value, datetime):
        return str(value)
    return value.isoformat(" ", "microseconds") if value.tzinfo is None else canonical.time_text(value)
