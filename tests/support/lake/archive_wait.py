"""Wait until all records of the change topics are archived; one consumer reads each record once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from minio import Minio

from config.settings import ObjectStoreSettings
from streams.adapters.committed_reader import committed_consumer
from streams.model.archive_chain import LAST_OFFSET, partition_folder
from tests.support.server_waiting import LIVENESS_S, until

_BATCH: Final = 10_000
_METADATA_TIMEOUT_S: Final = 10.0

Partition = tuple[str, int]


class ArchiveWait:
    """Waits until the archive contains the last record of every partition of the change topics."""

    def __init__(self, bootstrap: str, store: ObjectStoreSettings, topics: Iterable[str]) -> None:
        address = urlsplit(store.endpoint).netloc
        self._store = Minio(address, access_key=store.access_key, secret_key=store.secret_key, secure=False)
        self._consumer: Consumer = committed_consumer(bootstrap, "test-lake", {"enable.partition.eof": True})
        self._positions: dict[Partition, int] = {}
        for topic in topics:
            found = self._consumer.list_topics(topic, _METADATA_TIMEOUT_S).topics[topic]
            self._positions |= {(topic, partition): OFFSET_BEGINNING for partition in found.partitions}
        self._last: dict[Partition, int] = {}
        self._archived: dict[Partition, int] = {}

    def until_archived(self, mark: str) -> None:
        """Wait until a record that contains `mark` is in Kafka, and then until all records in Kafka are archived."""
        until(lambda: self._reads_to_end(mark.encode()), "the marker record is in Kafka")
        self._reads_to_end(b"")  # records that other partitions received before the mark
        for partition, last in self._last.items():
            until(lambda p=partition, n=last: self._is_archived(p, n), f"{partition} is archived")  # type: ignore[misc]

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _reads_to_end(self, mark: bytes) -> bool:
        """Read every partition to its end from where the last call stopped; return whether any record has the mark."""
        # Assigning again makes the consumer report the end of each partition again.
        self._consumer.assign([TopicPartition(*partition, offset) for partition, offset in self._positions.items()])
        unread, is_found = set(self._positions), False
        deadline = time.monotonic() + LIVENESS_S
        while unread:
            assert time.monotonic() < deadline, f"partitions not read to the end in time: {sorted(unread)}"
            for message in self._consumer.consume(_BATCH, timeout=0.2):
                topic, number, offset, error = message.topic(), message.partition(), message.offset(), message.error()
                assert topic is not None
                assert number is not None
                assert offset is not None
                partition = (topic, number)
                if error is None:
                    self._last[partition], self._positions[partition] = offset, offset + 1
                    is_found = is_found or mark in bytes(message.value() or b"")
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    self._positions[partition] = offset
                    unread.discard(partition)
        return is_found

    def _is_archived(self, partition: Partition, last: int) -> bool:
        if self._archived.get(partition, -1) < last:
            names = [each.object_name for each in self._store.list_objects("bronze", partition_folder(*partition))]
            if names:
                metadata = self._store.stat_object("bronze", str(max(names, key=str))).metadata or {}
                self._archived[partition] = int(metadata[f"x-amz-meta-{LAST_OFFSET}"])
        return self._archived.get(partition, -1) >= last
