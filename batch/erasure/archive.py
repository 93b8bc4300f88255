"""Finds a person's records in the archive of raw changes, and removes their values.

An erased record becomes a tombstone: its value is set to NULL, while topic, partition, offset, time, key and headers
are kept. The objects of each partition therefore keep their names, offsets and record counts. Bronze skips tombstones,
so a rebuild from the archive does not restore the person's data. All other records of a rewritten object are unchanged,
byte for byte.

A record belongs to the person if the row in it has the person's key. A record that cannot be decoded belongs to the
person if its Kafka key is the person's key, or if it contains the person's e-mail address or two other known values as
JSON strings; a single value, such as a first name, may be that of anybody.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from batch.bronze.archive import SCHEMA, Files
from batch.bronze.connector_text import canonical_text
from batch.bronze.envelope import decoded
from batch.erasure.person import Person
from batch.erasure.report import Entry
from batch.storage.objects import object_folder
from config.settings import ROW_MAX_BYTES, ObjectStoreSettings
from streams.model.archive_chain import start_of

WEIGHT_MIN: Final = 2
"""Least total weight (`weight`) of a person's values in an undecodable record of that person."""

_READABLE: Final = "_problem IS NULL AND NOT _is_tombstone"


@dataclass(frozen=True, kw_only=True)
class OwnRecords:
    """A person's records in the archive.

    Attributes:
        offsets: offsets of the records, keyed by the path of the archive object that contains them.
        values: personal data of the person, from all known versions of the row.
        newest_op: operation (c, u, d or r) of the newest decoded change; None if no record could be decoded.
        former: offsets, by path, of records of rows that were the person's before the change, and are another's now.
    """

    offsets: dict[str, set[int]]
    values: frozenset[str] = frozenset()
    newest_op: str | None = None
    former: dict[str, set[int]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of records with data of the person."""
        return sum(len(each) for found in (self.offsets, self.former) for each in found.values())

    @property
    def objects(self) -> set[str]:
        """The paths of the archive objects with these records."""
        return {*self.offsets, *self.former}


class Archive:
    """The archived raw changes of one Kafka topic."""

    def __init__(
        self, spark: SparkSession, folder: str, store: ObjectStoreSettings, *, max_bytes: int = ROW_MAX_BYTES
    ) -> None:
        self._spark = spark
        self._max_bytes = max_bytes
        self._folder = folder
        self._store = store

    def find(self, person: Person, known: Collection[str] = ()) -> OwnRecords:
        """Find the person's records; `known` is personal data of the person that was already found elsewhere."""
        paths = self._paths()
        if not paths:
            return OwnRecords(offsets={})
        records = self._spark.read.schema(SCHEMA).parquet(*paths)
        changes = decoded(records, person.table, max_bytes=self._max_bytes)
        own = F.expr(_READABLE) & _has_key(person)
        some = changes.where(own | F.expr("_problem IS NOT NULL")).persist()  # so that the envelopes are decoded once
        try:
            rows = some.where(own).select("partition", "offset", "_op", "_sequence", *_values(person)).collect()
            values = {row[name] for row in rows for name in person.personal if row[name]} | {*known}
            strange = some.where("_problem IS NOT NULL").where(_is_about(person, values))
            places = [(row["partition"], row["offset"]) for row in rows]
            places += [tuple(row) for row in strange.select("partition", "offset").collect()]
        finally:
            some.unpersist()
        newest = max(rows, key=lambda row: str(row["_sequence"]), default=None)
        return OwnRecords(
            offsets=self._by_object(records, places),
            values=frozenset(values),
            newest_op=None if newest is None else str(newest["_op"]),
            former={} if person.is_own else self._by_object(records, _former(records, person, places)),
        )

    def erase(self, found: OwnRecords) -> None:
        """Replace each object that contains found records with a copy without the person's data in these records."""
        for path in sorted(found.objects):
            folder, _, name = path.rpartition("/")
            objects = object_folder(folder, self._store)
            own, former = found.offsets.get(path, ()), found.former.get(path, ())
            objects.replace(name, without_values(objects.read(name), own, former))

    def entries(self, found: OwnRecords) -> list[Entry]:
        """Return report entries for the found records."""
        return [Entry(place="archive", found=found.count, left=found.count)]

    def _paths(self) -> list[str]:
        files = Files(self._spark)
        folders = [f"{self._folder}/{name}" for name in files.lengths(self._folder) if name.isdecimal()]
        return [f"{each}/{name}" for each in folders for name in files.lengths(each) if start_of(name) is not None]

    def _by_object(self, records: DataFrame, places: Iterable[tuple[int, int]]) -> dict[str, set[int]]:
        wanted = sorted(set(places))
        found: dict[str, set[int]] = defaultdict(set)
        if wanted:
            sought = self._spark.createDataFrame(wanted, "partition INT, offset BIGINT")
            named = records.select("partition", "offset", F.col("_metadata.file_path").alias("path"))
            for row in named.join(F.broadcast(sought), ["partition", "offset"]).collect():
                found[row["path"]].add(row["offset"])
        return dict(found)


def without_values(content: bytes, offsets: Collection[int], former: Collection[int] = ()) -> bytes:
    """Return a copy of a Parquet object in which the records at these offsets have NULL as their value.

    The records at the offsets `former` keep their row, but not the row before the change.
    """
    table: Any = pq.read_table(io.BytesIO(content))
    is_own = pc.is_in(table["offset"], value_set=pa.array(sorted(offsets), pa.int64()))
    index = table.schema.get_field_index("value")
    emptied: Any = pc.if_else(is_own, pa.scalar(None, pa.binary()), table["value"])
    if former:
        pairs = zip(table["offset"].to_pylist(), emptied.to_pylist(), strict=True)
        emptied = pa.array([without_before(v) if offset in former else v for offset, v in pairs], pa.binary())
    file = io.BytesIO()
    pq.write_table(
        table.set_column(index, table.schema.field(index), emptied),
        file,
        compression="zstd",
        use_dictionary=["topic", "partition"],
        write_statistics=["offset", "timestamp"],
    )
    return file.getvalue()


def without_before(value: bytes | None) -> bytes | None:
    """Return a change without the row before it."""
    if value is None:
        return None
    envelope: Any = msgspec.json.decode(value)
    body = envelope.get("payload", envelope)
    body["before"] = None
    return msgspec.json.encode(envelope)


def quoted(value: str) -> str:
    """Return a value as a JSON string, including the quotes."""
    return msgspec.json.encode(value).decode()


def weight(value: str) -> int:
    """Return how much a value says about whose it is: an e-mail address suffices by itself."""
    return WEIGHT_MIN if "@" in value else 1


def _has_key(person: Person) -> Column:
    return F.expr(canonical_text(person.column, f"_row['{person.column.source_name}']")) == person.id


def _values(person: Person) -> list[Column]:
    return [F.col("_row")[column.source_name].alias(column.name) for column in person.table.columns if column.personal]


def _is_about(person: Person, values: Collection[str]) -> Column:
    total = F.lit(0)
    for value in sorted(values):
        total += F.when(F.col("value").cast("string").contains(quoted(value)), weight(value)).otherwise(0)
    is_key = F.coalesce(F.col("key").cast("string") == person.id, F.lit(False)) & F.lit(person.is_own)
    return is_key | (total >= WEIGHT_MIN)


def _former(records: DataFrame, person: Person, own: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return partition and offset of the records, besides `own`, whose row before the change was the person's."""
    text = F.col("value").cast("string")
    name = person.column.source_name
    paths = (f"$.before.{name}", f"$.payload.before.{name}")
    was = F.lit(False)
    for path in paths:
        was |= F.coalesce(F.get_json_object(text, path) == person.id, F.lit(False))
    found = [(row["partition"], row["offset"]) for row in records.where(was).select("partition", "offset").collect()]
    return [place for place in found if place not in own]
