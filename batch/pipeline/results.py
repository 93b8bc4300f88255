"""Publishes the rows of Gold tables where other programs read them, after the run's manifest.

    {PROCESSED_ROOT}/{export}/part-00000.parquet    the rows, as one plain Parquet file; `_SUCCESS` beside it
    analytics:{table}                               in Redis, JSON: table, run_id, time, mark, rows (a list of objects)

A folder has a single file, which is replaced in one request: a reader sees all former rows or all new ones. `_SUCCESS`
and the value in Redis name the version of the Gold table that they show (`mark`), so a run that was killed after its
manifest is made up for by the next one, even if it finds nothing new. A service asks the places for their marks in each
cycle, so that a result that was lost is published again; it opens a table only for a manifest that it has not seen yet,
or if a place shows something else.
"""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from batch.console.output import Say
from batch.delta.published import PublishedTable
from batch.errors import BatchError
from batch.gold import GoldPlan
from batch.pipeline.manifest import Manifest
from batch.storage.objects import object_folder
from batch.storage.paths import Lake
from config.settings import ObjectStoreSettings
from streams.adapters.lake_keys import RESULTS
from streams.adapters.redis import RedisAwayError, Script

log = logging.getLogger(__name__)

ROWS_MAX: Final = 100_000
"""Number of rows above which a table is no result, but data."""

PART: Final = "part-00000.parquet"
SUCCESS: Final = "_SUCCESS"

HEAD_BYTES: Final = 512
"""Length of the part of a value in Redis that is read for its mark, which stands before the rows."""

HEAD: Final = Script("""\
-- ARGV[1] is {key, length} in MessagePack
local key, length = unpack(cmsgpack.unpack(ARGV[1]))
return redis.call('GETRANGE', key, 0, length - 1)
""")

SET: Final = Script("""\
-- ARGV[1] is {key, value} in MessagePack
local key, value = unpack(cmsgpack.unpack(ARGV[1]))
return redis.call('SET', key, value)
""")


Opened = Callable[[], PublishedTable]
"""A function that opens a Gold table at the version that a manifest names, when it is called for the first time."""


class Redis(Protocol):
    """What the results need of Redis."""

    def call(self, script: Script, argument: bytes) -> Any:
        """Run a script with one argument, and return its result."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The published results of one dataset.

    Attributes:
        plans: all Gold tables of the dataset.
        root: URI of the folder that has the folders of exports.
        marks: the mark of each Gold table, with the run and the version for which it was looked up; a service keeps it.
    """

    plans: Sequence[GoldPlan]
    lake: Lake
    root: str
    store: ObjectStoreSettings
    redis: Redis
    say: Say
    marks: dict[str, tuple[str, int, str]] = field(default_factory=dict)

    def publish(self, manifest: Manifest) -> None:
        """Publish each result whose Gold table has another version in the manifest than the result shows.

        Raises:
            BatchError: the object storage cannot be reached, or a table has too many rows or cannot be read.
        """
        for plan in self.plans:
            version = manifest.versions.get(f"gold/{plan.name}")
            if version is not None and plan.is_published:
                self._publish(plan, version, manifest)

    def _publish(self, plan: GoldPlan, version: int, manifest: Manifest) -> None:
        try:
            table = functools.cache(functools.partial(PublishedTable, self.lake.fact(plan.name), version, self.store))
            mark = self._mark_in(plan, manifest, table)
            if plan.export:
                self._export(plan, table, mark, manifest)
            if plan.is_in_redis:
                self._to_redis(plan, table, mark, manifest)
        except DeltaError as error:
            raise BatchError(str(error), layer="gold", table=plan.name) from error

    def _mark_in(self, plan: GoldPlan, manifest: Manifest, table: Opened) -> str:
        """Return the mark of the version that a manifest names; a table with this version may have been made again."""
        run_id, version = manifest.run_id, manifest.versions[f"gold/{plan.name}"]
        known = self.marks.get(plan.name)
        if known is None or known[:2] != (run_id, version):
            known = self.marks[plan.name] = (run_id, version, table().mark)
        return known[2]

    def _export(self, plan: GoldPlan, table: Opened, mark: str, manifest: Manifest) -> None:
        folder = object_folder(f"{self.root}/{plan.export}", self.store)
        try:
            if _mark(folder.read(SUCCESS)) == mark:
                return
        except FileNotFoundError:
            pass
        rows = _rows(plan, table())
        content = io.BytesIO()
        pq.write_table(rows, content)
        folder.write(PART, content.getvalue())
        about = {"table": plan.name, "run_id": manifest.run_id, "mark": mark, "rows": rows.num_rows}
        folder.write(SUCCESS, msgspec.json.encode(about))
        self.say(f"  {self.root}/{plan.export}: {rows.num_rows:,} rows")

    def _to_redis(self, plan: GoldPlan, table: Opened, mark: str, manifest: Manifest) -> None:
        key = f"{RESULTS}{plan.name}"
        try:
            head = self.redis.call(HEAD, msgspec.msgpack.encode((key, HEAD_BYTES)))
            if _mark(head.partition(b',"rows":')[0] + b"}") == mark:
                return
            rows = _rows(plan, table())
            value = {
                "table": plan.name,
                "run_id": manifest.run_id,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "mark": mark,
                "rows": rows.to_pylist(),  # the last one: see HEAD_BYTES
            }
            # As text: the scripts of Redis do not read MessagePack's type of bytes.
            self.redis.call(SET, msgspec.msgpack.encode((key, msgspec.json.encode(value).decode())))
        except RedisAwayError as error:
            log.warning("could not write %s to Redis: %s", key, error)
            self.say(f"warning: could not write {key} to Redis, the next run will: {error}")
            return
        self.say(f"  {key} in Redis: {rows.num_rows:,} rows")


def _rows(plan: GoldPlan, table: PublishedTable) -> pa.Table:
    rows = table.rows(most=ROWS_MAX)
    if rows is None:
        text = f"has more than {ROWS_MAX:,} rows, too many for a result: group them, or remove `export` and `redis`"
        raise BatchError(text, layer="gold", table=plan.name)
    return rows.sort_by([(name, "ascending") for name in plan.key])


def _mark(content: bytes) -> str | None:
    """Return the version that a published result shows; None if it is none."""
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None
    return found.get("mark") if isinstance(found, dict) else None
