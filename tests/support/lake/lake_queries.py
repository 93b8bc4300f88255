"""Query a lake without Spark: delta-rs reads the tables in the manifest's versions, and SQLite runs the SQL."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from batch import gold
from batch.pipeline.manifest import Manifests
from batch.storage.objects import object_folder
from batch.storage.paths import Lake
from config.dataset import DEFINITION_FILE, SHIPPED, load_definition_file
from config.settings import LakeSettings, ObjectStoreSettings
from tests.support.lake.delta_rows import delta_table, python_rows

QUARANTINE = "quarantine"

Rows = list[tuple[Any, ...]]


class LakeQueries:
    """A query engine for the lake that is set in `environment`; it reads the versions of the newest manifest."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        datasets = Path(environment.get("DATASETS_DIR") or SHIPPED)
        name = environment.get("DATASET") or "project_db"
        self._definition = load_definition_file(datasets / name / DEFINITION_FILE)
        self._settings, self._store = LakeSettings.read(environment), ObjectStoreSettings.read(environment)
        settings, prefix = self._settings, self._definition.lake_prefix
        self._lake = Lake(bronze=settings.bronze, silver=settings.silver, gold=settings.gold, prefix=prefix)

    def ask(self, queries: Sequence[str]) -> list[Rows]:
        """Run the queries on the newest manifest's versions; return the rows of each, with times formatted as text."""
        manifest = Manifests(object_folder(self._lake.runs(), self._store)).newest(datetime.now(UTC))
        assert manifest is not None, "there is no manifest: no run has finished yet"
        versions = {name: version for name, version in manifest.versions.items() if not name.startswith("bronze/")}
        words = set(re.findall(r"\w+", " ".join(queries)))
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.create_function("date_format", 2, lambda value, form: value)  # missing in SQLite
            for name, version in [*versions.items(), (f"silver/{QUARANTINE}", None)]:
                layer, _, table = name.partition("/")
                if table in words:
                    _fill(database, table, self._rows(layer, table, version))
            return [database.execute(query).fetchall() for query in queries]

    def _rows(self, layer: str, table: str, version: int | None) -> pa.Table:
        is_newest = layer == "silver" and table in {each.name for each in self._definition.tables}
        uri = self._uri(layer, table).replace("s3a://", "s3://")
        storage = {
            "aws_endpoint_url": self._store.endpoint,
            "aws_access_key_id": self._store.access_key,
            "aws_secret_access_key": self._store.secret_key,
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
        return delta_table(uri, where="NOT _deleted" if is_newest else None, version=version, storage=storage)

    def _uri(self, layer: str, table: str) -> str:
        if table == QUARANTINE:
            return self._lake.quarantine()
        if layer == "silver":
            return self._lake.table(layer, table)
        [plan] = [plan for plan in gold.plans(self._definition) if plan.name == table]
        return self._lake.dimension(table) if plan.kind == "dimension" else self._lake.fact(table)


def _fill(database: sqlite3.Connection, table: str, rows: pa.Table) -> None:
    names = ", ".join(f'"{name}"' for name in rows.column_names)
    database.execute(f'CREATE TABLE "{table}" ({names})')
    marks = ", ".join("?" for _ in rows.column_names)
    database.executemany(f'INSERT INTO "{table}" VALUES ({marks})', _plain(python_rows(rows)))  # noqa: S608


def _plain(rows: list[dict[str, Any]]) -> Iterator[list[Any]]:
    for row in rows:
        yield [_text(value) if isinstance(value, date) else value for value in row.values()]


def _text(value: date) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value.isoformat()
