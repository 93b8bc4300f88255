"""Notice within seconds that a source topic was deleted or created again while its partitions are running.

aiokafka 0.14 fetches by topic name. If a topic is created again and soon has more records than the former one, its
consumer goes on at the same offset, and nothing fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from mode import Service

from streams.runtime.faust.source_topics import MISSING, topic_ids
from streams.runtime.faust.worker import WorkerApp
from streams.runtime.partition.lifecycle import Partition
from streams.runtime.partition.sources import SourceAlteredError

log = logging.getLogger(__name__)

INTERVAL_S: Final = 5.0


class SourceWatch(Service):
    """A service that compares the ids of the source topics with those that the running partitions were opened with.

    Args:
        app: the application.
        partitions: returns the partitions that this worker processes at present.
    """

    def __init__(self, app: WorkerApp, partitions: Callable[[], Sequence[Partition]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app
        self._partitions = partitions
        self._client: AIOKafkaClient | None = None

    @Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            await self.sleep(INTERVAL_S)
            try:
                await self.look()
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("cannot ask Kafka for the ids of the source topics: %r", error)
                await self._close_client()

    async def look(self) -> None:
        """Ask Kafka once, with one request for all topics."""
        partitions = self._partitions()
        topics = sorted({topic for partition in partitions for topic in partition.task.source_ids})
        if topics:
            report_altered(partitions, await self._ask(topics))

    async def _ask(self, topics: list[str]) -> dict[str, str | None]:
        if self._client is None:
            self._client = AIOKafkaClient(**self.app.kafka_client)
            await self._client.bootstrap()
        return await topic_ids(self._client, topics)

    async def on_shutdown(self) -> None:
        """Close the connection to Kafka."""
        await self._close_client()

    async def _close_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def report_altered(partitions: Sequence[Partition], present: Mapping[str, str | None]) -> None:
    """Make each open partition reopen whose source topics have other ids than when it was opened."""
    for partition in partitions:
        task = partition.task
        for topic, opened_with in task.source_ids.items():
            found = present.get(topic, opened_with)
            if task.is_open and opened_with is not None and found is not None and found != opened_with:
                what = "does not exist any more" if found == MISSING else f"was created again (topic id {found})"
                task.fail(SourceAlteredError(f"source topic {topic} (topic id {opened_with}) {what}"))
