"""A shop whose change topics a test writes, workers of `streams.archive`, and the archive as a reader finds it."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pyarrow.parquet as pq
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, KafkaError, Producer, TopicPartition
from minio import Minio

from config.settings import ObjectStoreSettings
from demo.workers import Worker
from stack.local import Stack
from stack.ports import free_ports
from streams.adapters.committed_reader import committed_consumer
from streams.model.archive_chain import LAST_OFFSET, Piece, object_name, partition_folder, start_of, walk
from streams.topics import Direction, catalogue, change_topic
from tests.streams.orders.deployments import PARTITIONS, FedShop
from tests.support.server_waiting import until

BUCKET: Final = "bronze"
LARGE_BYTES: Final = 10_000_000
Place = tuple[str, int]


class Kept(NamedTuple):
    """A record as Kafka holds it, and as the archive does."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class ArchivedShop(FedShop):
    """The shop.

    Attributes:
        workers: all that were started.
    """

    def __init__(self, stack: Stack, folder: Path) -> None:
        super().__init__(stack, folder)
        self.workers: list[Worker] = []
        self.environment |= {"ARCHIVE_APP_ID": f"{self.dataset}-archive", "ARCHIVE_FLUSH_S": "0.5"}
        settings = ObjectStoreSettings.read(self.environment)
        self.store = Minio(
            urlsplit(settings.endpoint).netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            secure=False,
        )
        self._rows: dict[str, list[Kept]] = {}

    def worker(self, **settings: str) -> Worker:
        """Start a worker, and wait until it is ready."""
        [port] = free_ports(["worker"]).values()
        worker = Worker(
            web_port=port,
            environment=self.environment | settings,
            folder=self._folder,
            application="streams.archive",
        )
        self.workers.append(worker)
        worker.start()
        worker.wait_ready()
        return worker

    def write_odd_records(self) -> None:
        """Records of every kind that Kafka takes, in three topics, committed and aborted."""
        topic = change_topic(self.dataset, "orders")
        values = [b"", None, b"{ not json", b'{"op":"t"}', bytes(range(256)), struct.pack("d", 1.5)]
        headers: list[Any] = [[], [("a", b"1"), ("a", None), ("", b"")], [("ü", b"\xff")]]
        for index, value in enumerate(values * 3):
            self._producer.begin_transaction()
            key = (None, b"", b"k")[index % 3]
            self._producer.produce(
                topic, key=key, value=value, partition=index % PARTITIONS, headers=headers[index % 3]
            )
            if index % 5 == 4:
                self._producer.abort_transaction(30)
            else:
                self._producer.commit_transaction(30)
        large = Producer(
            {"bootstrap.servers": self.bootstrap, "message.max.bytes": 2 * LARGE_BYTES, "compression.type": "zstd"}
        )
        for number in range(3):
            large.produce(change_topic(self.dataset, "customers"), key=b"1", value=b"%d" % number * LARGE_BYTES)
        large.flush(30)

    # -- what has to be there -----------------------------------------------------------------------------------------

    def places(self) -> list[Place]:
        """Every partition of every change topic."""
        specs = catalogue(dataset=self.dataset, app_id="any", order_partitions=PARTITIONS)
        return [(s.name, n) for s in specs if s.direction is Direction.IN for n in range(s.partitions)]

    def in_kafka(self) -> Mapping[Place, list[Kept]]:
        """Everything that is committed, to the end."""
        places = self.places()
        consumer = committed_consumer(self.bootstrap, "test-archive", {"enable.partition.eof": True})
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in places])
        found: dict[Place, list[Kept]] = {place: [] for place in places}
        unfinished = set(places)
        while unfinished:
            for message in consumer.consume(1_000, 0.2):
                place: Any = (message.topic(), message.partition())
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    unfinished.discard(place)
                    continue
                offset: Any = message.offset()
                kind, timestamp = message.timestamp()
                assert kind != TIMESTAMP_NOT_AVAILABLE
                key: Any = message.key()
                headers: Any = tuple(message.headers() or ())
                found[place].append(Kept(offset, timestamp, key, message.value(), headers))
        consumer.close()
        return found

    # -- what is there ------------------------------------------------------------------------------------------------

    def objects(self) -> list[str]:
        """Names of all objects of the shop."""
        folders = {partition_folder(*place) for place in self.places()}
        return [name for folder in sorted(folders) for name in self._names(folder)]

    def in_archive(self) -> Mapping[Place, list[Kept]]:
        """The records that a reader of the chains finds; every object is on one chain, and none overlaps another."""
        return {place: self._chain(*place) for place in self.places()}

    def is_complete(self) -> bool:
        """Whether the archive holds all of Kafka's records; those it has already must be equal."""
        expected, found = self.in_kafka(), self.in_archive()
        for place, records in found.items():
            assert records == expected[place][: len(records)], f"{place} differs from what Kafka holds"
        return {place: len(each) for place, each in found.items()} == {p: len(each) for p, each in expected.items()}

    def until_complete(self) -> None:
        """Wait until the archive holds what Kafka does."""
        until(self.is_complete, "the archive is what Kafka holds")

    def put(self, topic: str, number: int, start: int, content: bytes, last: int) -> None:
        """Put an object as a worker would whose answer is lost."""
        name = object_name(topic, number, start)
        self.store.put_object(BUCKET, name, io.BytesIO(content), len(content), metadata={LAST_OFFSET: str(last)})

    def _names(self, folder: str) -> list[str]:
        return [each.object_name or "" for each in self.store.list_objects(BUCKET, folder)]

    def _chain(self, topic: str, number: int) -> list[Kept]:
        starts = [
            start for name in self._names(partition_folder(topic, number)) if (start := start_of(name)) is not None
        ]
        pieces = list(walk(starts, lambda start: self._last_of(object_name(topic, number, start))))
        assert [piece.start for piece in pieces] == sorted(starts), "an object is on no chain"
        return [record for piece in pieces for record in self._read(topic, number, piece)]

    def _last_of(self, name: str) -> int:
        metadata = self.store.stat_object(BUCKET, name).metadata
        assert metadata is not None
        return int(metadata[f"x-amz-meta-{LAST_OFFSET}"])

    def _read(self, topic: str, number: int, piece: Piece) -> Sequence[Kept]:
        name = object_name(topic, number, piece.start)
        if name not in self._rows:  # what was put once never changes
            table = pq.read_table(io.BytesIO(self.store.get_object(BUCKET, name).read()))
            rows = table.set_column(3, "timestamp", table.column("timestamp").cast("int64")).to_pylist()
            assert {(row["topic"], row["partition"]) for row in rows} == {(topic, number)}
            self._rows[name] = [_kept(row) for row in rows]
            assert self._rows[name][-1].offset == piece.last
        return self._rows[name]


def _kept(row: Mapping[str, Any]) -> Kept:
    headers = tuple((header["key"], header["value"]) for header in row["headers"])
    return Kept(row["offset"], row["timestamp"], row["key"], row["value"], headers)
