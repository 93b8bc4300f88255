"""Find the transactional ids that workers share among several partitions, to fence workers by them too.

A worker with such ids can commit without the partitions' own ids, so whoever fences it has to initialise both: the own
ids first, so that no further shared id can be named, then those that the changelog names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from streams.runtime.partition.shared_ids import SHARED_ID
from streams.runtime.state.changelog import SOURCE_KEY

_KEY: Final = SOURCE_KEY + SHARED_ID.encode()
_POLL_MS: Final = 200


async def named_ids(client: Mapping[str, Any], changelog: str) -> set[str]:
    """Return the shared ids that a changelog names; none if the topic does not exist.

    The topic is read in full, with records that are not committed: an id too many does no harm.

    Raises:
        KafkaError: Kafka does not answer.
    """
    if not await _exists(client, changelog):
        return set()
    names: set[str] = set()
    async with aiokafka.AIOKafkaConsumer(
        changelog, **client, enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        places = [TopicPartition(changelog, number) for number in consumer.partitions_for_topic(changelog) or ()]
        assert places, f"topic {changelog} has no partitions"
        ends, begins = await consumer.end_offsets(places), await consumer.beginning_offsets(places)
        unread = {place for place in places if begins[place] < ends[place]}
        while unread:
            for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                names |= {value.decode() for each in records if each.key == _KEY for _, value in each.headers}
            unread = {place for place in unread if await consumer.position(place) < ends[place]}
    return names


async def _exists(client: Mapping[str, Any], topic: str) -> bool:
    async with aiokafka.AIOKafkaConsumer(**client) as consumer:
        return topic in await consumer.topics()
