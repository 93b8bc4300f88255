"""What surrounds the archive's committers in unit tests: a bucket in memory, Kafka as a list, a group, owners."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import pyarrow.parquet as pq
from aiokafka.errors import CommitFailedError
from faust.types import TP

from streams.model.archive_chain import LAST_OFFSET, Piece, object_name, start_of, walk
from streams.model.errors import SinkAwayError
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.testing import Consumed
from tables.archive.committer import ArchiveCommitter, ArchiveSink

TOPIC: Final = "shop.orders"
NUMBER: Final = 3
Put = tuple[str, bytes, Mapping[str, str]]


class MemoryBucket:
    """A bucket that does what S3 does.

    Attributes:
        objects: content and metadata by name.
        fates: of the next puts, one each: `lost` (it is stored, the answer is lost), `failed`, `late` (it is stored
            when `land` is called, the answer is lost).
        is_away: nothing has an answer.
        asked: names of the objects that were looked for.
    """

    has_condition = True

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.fates: list[str] = []
        self.is_away = False
        self.asked: list[str] = []
        self.listed = 0
        self.away_since: float | None = None
        self._late: list[Put] = []

    async def metadata(self, name: str) -> Mapping[str, str] | None:
        self._answer()
        self.asked.append(name)
        return self.objects[name][1] if name in self.objects else None

    async def first_names(self, folder: str, *, after: str) -> list[str]:
        self._answer()
        found = sorted(name for name in self.objects if name.startswith(folder) and name > after)
        self.listed += len(found)
        return found

    async def put_new(self, name: str, content: Callable[[], bytes], metadata: Mapping[str, str]) -> int | None:
        self._answer()
        fate = self.fates.pop(0) if self.fates else ""
        put = (name, content(), metadata)
        if fate == "late":
            self._late.append(put)
        is_new = fate not in ("late", "failed") and self._store(put)
        if fate:
            raise SinkAwayError("no answer")
        return len(put[1]) if is_new else None

    def land(self) -> None:
        """Store the puts that were late."""
        late, self._late = self._late, []
        for put in late:
            self._store(put)

    async def close(self) -> None:
        self.is_away = True

    def _answer(self) -> None:
        if self.is_away:
            raise SinkAwayError("nobody there")

    def _store(self, put: Put) -> bool:
        name, content, metadata = put
        if name in self.objects and self.has_condition:
            return False
        self.objects[name] = (content, dict(metadata))
        return True

    # -- as a reader ------------------------------------------------------------------------------------------------

    def pieces(self) -> list[Piece]:
        """Every object of the partition."""
        found = [(start_of(name), int(metadata[LAST_OFFSET])) for name, (_, metadata) in self.objects.items()]
        return sorted(Piece(start, last) for start, last in found if start is not None)

    def rows(self) -> list[dict[str, Any]]:
        """What a reader of the whole chain gets."""
        last_of = dict(self.pieces())
        position, kept = 0, []
        for piece in walk(last_of, last_of.__getitem__):
            content = self.objects[object_name(TOPIC, NUMBER, piece.start)][0]
            kept += [row for row in _rows_in(content) if row["offset"] >= position]
            position = piece.last + 1
        return kept


@functools.lru_cache(maxsize=1_000)
def _rows_in(content: bytes) -> Sequence[dict[str, Any]]:
    """The rows of an object; a state machine reads each object again after every step."""
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    return rows


class Group:
    """The worker around a sink, as far as a sink sees it, and the consumer group.

    Attributes:
        offset: what the group was last told.
        refuses: it takes nothing, as during a rebalance.
    """

    def __init__(self) -> None:
        self.partition_supervisor = self
        self.offset: int | None = None
        self.refuses = False

    async def group_offset(self, tp: TP) -> int | None:
        assert tp == TP(TOPIC, NUMBER)
        return self.offset

    async def commit_group_offsets(self, offsets: Mapping[TP, int]) -> None:
        if self.refuses:
            raise CommitFailedError("a rebalance")
        self.offset = offsets[TP(TOPIC, NUMBER)]


class Kafka:
    """The partition's records: `offset` is where the next one goes."""

    def __init__(self) -> None:
        self.records: list[Consumed] = []
        self.offset = 0

    def produce(self, count: int = 1, *, gap: int = 0, value: bytes | None = b"v", **options: Any) -> None:
        """Append records; `gap` offsets before them belong to transaction markers."""
        self.offset += gap
        for _ in range(count):
            self.records.append(Consumed(TOPIC, NUMBER, self.offset, b"k%d" % self.offset, value, **options))
            self.offset += 1

    def after(self, position: int, count: int) -> list[Consumed]:
        """The next records from a position on."""
        return list(itertools.islice((record for record in self.records if record.offset >= position), count))


class Owner:
    """A worker with its sink, which has the partition open, as the runtime uses it."""

    def __init__(self, bucket: MemoryBucket, group: Group, *, flush_bytes: int = 2**30, flush_s: float = 0.0) -> None:
        self.sink = ArchiveSink(bucket, cast(TransactionalApp, group), flush_bytes=flush_bytes, flush_s=flush_s)
        self.committer: ArchiveCommitter
        self.position = 0

    async def open(self) -> Owner:
        """Open the partition, once more if it was open; `position` is where it goes on."""
        self.committer = self.sink.committers(TOPIC)(NUMBER)
        await self.committer.open()
        committed = await self.committer.committed()
        self.position = committed[TOPIC] or 0
        return self

    async def read(self, kafka: Kafka, count: int = 1_000) -> None:
        """A turn of the next records."""
        records = kafka.after(self.position, count)
        if records:
            outputs = [OutputRecord(r.topic, r.key, r.value, source=r) for r in records]
            assert await self.committer.commit(outputs, {TOPIC: records[-1].offset + 1}) == {}
            self.position = records[-1].offset + 1
