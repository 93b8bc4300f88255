"""Find the transactional ids that workers share among several partitions, to fence workers by them too.

A worker with such ids can commit without the partitions' own ids, so whoever fences it has to initialise both: the own
ids first, so that no further shared id can be named, then those that the changelog names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from streams.runtime.partition.shared_ids import SHARED_ID
from streams.runtime.state.changelog import SOURCE_KEY

_KEY: Final = SOURCE_KEY + SHARED_ID.encode()
_POLL_MS: Final = 200


async def named_ids(client: Mapping[str, Any], changelog: str, partitions: Collection[int]) -> set[str]:
    """Return the shared ids that some partitions of a changelog name; none if the topic does not exist.

    The partitions are read in full, with records that are not committed: an id too many does no harm.

    Raises:
        KafkaError: Kafka does not answer.
    """
    consumer = aiokafka.AIOKafkaConsumer(**client, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        if changelog not in await consumer.topics():
            return set()
        found = consumer.partitions_for_topic(changelog) or set()
        places = [TopicPartition(changelog, number) for number in sorted(found & set(partitions))]
        consumer.assign(places)
        ends, begins = await consumer.end_offsets(places), await consumer.beginning_offsets(places)
        unread = {place for place in places if begins[place] < ends[place]}
        names: set[str] = set()
        while unread:
            for records in (await consumer.getmany(*unread, timeout_ms=_POLL_MS)).values():
                names |= {value.decode() for each in records if each.key == _KEY for _, value in each.headers}
            unread = {place for place in unread if await consumer.position(place) < ends[place]}
        return names
    finally:
        await consumer.stop()
