"""The look-up entries in Redis, database 0: JSON objects with the keys `customer:{id}` and `payment_method:{id}`.

One script call writes the entries of a turn (a micro-batch of a partition) and, atomically with them, the next offset
to read from the partition, in the hash `lookups_offsets:{app id}` (`tables/redis_offsets.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mode import Service

from streams.adapters.redis import Script, ScriptCaller
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from streams.topics import DEAD_LETTERS
from tables.dead_letters import DeadLetterProducer
from tables.redis_offsets import RedisOffset

DATABASE: Final = 0

_OFFSETS: Final = "lookups_offsets:"

WRITE: Final = Script("""\
-- {hash, field, expected offset or '', next offset, {key = JSON}, deleted keys} -> 1, or 0 if another offset is stored
local hash, field, expected, next_offset, written, deleted = unpack(cmsgpack.unpack(ARGV[1]))
if (redis.call('HGET', hash, field) or '') ~= expected then return 0 end
for key, json in pairs(written) do redis.call('SET', key, json) end
for _, key in ipairs(deleted) do redis.call('DEL', key) end
redis.call('HSET', hash, field, next_offset)
return 1
""")


class LookupSink(Service):
    """A sink that writes look-up entries to Redis; creates a committer for each partition task.

    Args:
        client: runs scripts in the look-up entries' database; the sink closes it.
        app: the application, whose consumer group's offsets are committed so that its lag can be monitored.
    """

    def __init__(self, client: ScriptCaller, app: TransactionalApp, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.client = client
        self.app = app
        self.dead_letters = DeadLetterProducer(app)

    def committers(self, topic: str) -> Callable[[int], LookupCommitter]:
        """Return a function that creates the committer of a partition of this topic, given the partition number."""
        return lambda partition: LookupCommitter(self, topic, partition)

    async def on_shutdown(self) -> None:
        """Close the connections to Kafka and Redis."""
        await self.dead_letters.close()
        await self.client.close()


class LookupCommitter(RedisOffset):
    """A committer that writes the look-up entries of one partition, together with the partition's offset."""

    def __init__(self, sink: LookupSink, topic: str, partition: int) -> None:
        super().__init__(sink, topic, partition, prefix=_OFFSETS, content="look-up entries")

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Write dead letters to Kafka, then write the look-up entries and the next offset atomically to Redis.

        Raises:
            SinkAwayError: Redis does not answer, or the stored offset is not the expected one.
        """
        await self._keep_dead_letters(outputs)
        written: dict[str, str] = {}
        deleted: list[str] = []
        for kind, key, value, *_ in outputs:
            assert key is not None or kind == DEAD_LETTERS
            if kind != DEAD_LETTERS and key is not None:
                name = f"{kind}:{key.decode()}"
                if value is None:
                    deleted.append(name)
                else:
                    written[name] = value.decode()
        offset = offsets[self._topic]
        await self._moved(WRITE, (*self._place, self._expected, str(offset), written, deleted), offset)
        return {}
