"""Count the records in change topics and in the archive, which must be the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

from config.settings import ArchiveSettings, ObjectStoreSettings
from ops.topic_reader import TopicReader
from streams.adapters.object_store import MinioBucket, ObjectStore
from streams.model.archive_chain import RECORDS, partition_folder
from streams.topics import TopicSpec


def captured(bootstrap: str, topics: Iterable[TopicSpec]) -> int:
    """Count the committed records of topics; offsets alone would count the marks of transactions too.

    Raises:
        StackError: Kafka does not answer.
    """
    count = 0

    def visit(_key: bytes | None, _value: bytes | None) -> None:
        nonlocal count
        count += 1

    for topic in topics:
        with TopicReader(bootstrap, topic.name, "millrace-demo") as reader:
            reader.visit_to_end(visit)
    return count


class ArchiveCount:
    """Counts the archived records of topics; objects that were counted before are not asked for again."""

    def __init__(self, objects: ObjectStoreSettings, settings: ArchiveSettings, topics: Iterable[TopicSpec]) -> None:
        self._objects = objects
        self._root = urlsplit(settings.bronze)
        self._folders = [partition_folder(topic.name, n) for topic in topics for n in range(topic.partitions)]
        self._newest: dict[str, str] = {}
        self._records = 0

    def records(self) -> int:
        """Return the number of archived records.

        Raises:
            SinkAwayError: the storage does not answer.
        """
        return asyncio.run(self._count())

    async def _count(self) -> int:
        objects = self._objects
        bucket = MinioBucket(
            objects.endpoint, self._root.netloc, access_key=objects.access_key, secret_key=objects.secret_key
        )
        try:
            for folder in self._folders:
                await self._count_folder(bucket, folder)
        finally:
            await bucket.close()
        return self._records

    async def _count_folder(self, bucket: ObjectStore, folder: str) -> None:
        prefix = f"{self._root.path.strip('/')}/".lstrip("/") + folder
        for name in await bucket.first_names(prefix, after=self._newest.get(folder, prefix)):
            metadata = await bucket.metadata(name)
            assert metadata is not None, "an object was deleted while it was counted"
            self._records += int(metadata[RECORDS])
            self._newest[folder] = name
