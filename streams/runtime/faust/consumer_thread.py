"""The thread of Faust's consumer, and questions to Kafka that only its client can ask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

import aiokafka
from aiokafka.errors import KafkaError, NoError, for_code
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

LONG_POLL_MS: Final = 100
"""Maximum time for which a broker may delay its response to a fetch while there is no data. A partition that is opening
waits for that response, so Faust's 1.5 s would be most of the failover time."""

MEMBERSHIP_TIMEOUT_S: Final = 3.0

FIRST_OFFSET_TIMEOUT_S: Final = 3.0
"""The polling loop waits for this answer on behalf of one partition, so the other partitions wait as well."""


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """A Faust consumer thread whose client uses shorter long polls."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        client = super()._create_worker_consumer(transport)
        client._fetch_max_wait_ms = LONG_POLL_MS  # Faust hard-codes the value, and aiokafka has no setter
        return client

    async def committed(self, tps: Sequence[TP]) -> dict[TP, tuple[int | None, str]]:
        """Return the offset that the group has committed for each topic partition, and the text with it."""
        found: dict[TP, tuple[int | None, str]] = await self.call_thread(committed, self._ensure_consumer(), tps)
        return found

    async def is_member(self, generation: int) -> bool:
        """Return whether the group's coordinator confirms that this worker is a member of a group generation."""
        return cast(bool, await self.call_thread(is_member, self._ensure_consumer(), generation))

    async def first_offset(self, tp: TP) -> int:
        """Return the first offset that a topic partition still has.

        Raises:
            KafkaError, TimeoutError: the partition's leader does not answer.
        """
        place = TopicPartition(tp.topic, tp.partition)
        async with asyncio.timeout(FIRST_OFFSET_TIMEOUT_S):
            found = await self.call_thread(self._ensure_consumer().beginning_offsets, [place])
        return int(found[place])


async def committed(client: aiokafka.AIOKafkaConsumer, tps: Sequence[TP]) -> dict[TP, tuple[int | None, str]]:
    """Return the offset that a client's group has committed for each topic partition, and the text with it.

    The offset is None, and the text empty, if none was committed. aiokafka's own method leaves the text out.
    """
    asked = [TopicPartition(tp.topic, tp.partition) for tp in tps]
    answer = await client._coordinator.fetch_committed_offsets(asked)
    known = {tp: answer[place] for tp, place in zip(tps, asked, strict=True) if place in answer}
    there = {tp: (found.offset, found.metadata) for tp, found in known.items() if found.offset >= 0}
    return {tp: there.get(tp, (None, "")) for tp in tps}


async def is_member(client: aiokafka.AIOKafkaConsumer, generation: int) -> bool:
    """Return whether the group's coordinator confirms, now, that `client` is a member of a group generation.

    The heartbeat is a new one, because the last one of the client may be older than a pause of this process, in which
    the group has excluded it. A group that is rebalancing does not confirm.
    """
    coordinator = client._coordinator
    if coordinator.generation != generation or not coordinator.member_id:
        return False
    request = HeartbeatRequest(coordinator.group_id, generation, coordinator.member_id)
    try:
        async with asyncio.timeout(MEMBERSHIP_TIMEOUT_S):
            response = await coordinator._send_req(request)
    except (KafkaError, OSError, TimeoutError):
        return False
    return for_code(response.error_code) is NoError
