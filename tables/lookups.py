"""The look-up entries in Redis, database 0: JSON objects with the keys `customer:{id}` and `payment_method:{id}`.

One script call writes the entries of a turn (a micro-batch of a partition) and, atomically with them, the next offset
to read from the partition:

    lookups_offsets:{app id}    hash, `{topic}/{partition}` → the next offset to read
                                      `{topic}/{partition}/topic_id` → id of the topic that the offset belongs to

The script rejects a write if the stored offset is not the one that the worker expects: the worker was suspended while
another worker took over, or Redis has lost its data. The rejected worker reopens the partition and resumes at the
stored offset, or at the beginning of the topic if no offset is stored.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka.errors import KafkaError
from faust.types import TP
from mode import Service

from streams.adapters.redis import RedisAwayError, Script, ScriptCaller
from streams.model.errors import SinkAwayError
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from streams.topics import DEAD_LETTERS
from tables.dead_letters import DeadLetterProducer

log = logging.getLogger(__name__)

DATABASE: Final = 0

_OFFSETS: Final = "lookups_offsets:"

READ: Final = Script("""\
-- {hash, field} -> the stored next offset, or nil
local hash, field = unpack(cmsgpack.unpack(ARGV[1]))
return redis.call('HGET', hash, field)
""")

WRITE: Final = Script("""\
-- {hash, field, expected offset or '', next offset, {key = JSON}, deleted keys} -> 1, or 0 if another offset is stored
local hash, field, expected, next_offset, written, deleted = unpack(cmsgpack.unpack(ARGV[1]))
if (redis.call('HGET', hash, field) or '') ~= expected then return 0 end
for key, json in pairs(written) do redis.call('SET', key, json) end
for _, key in ipairs(deleted) do redis.call('DEL', key) end
redis.call('HSET', hash, field, next_offset)
return 1
""")

KEEP: Final = Script("""\
-- {hash, field, text} -> nil; stores a text
local hash, field, text = unpack(cmsgpack.unpack(ARGV[1]))
redis.call('HSET', hash, field, text)
""")

_encode = msgspec.msgpack.Encoder().encode


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


class LookupCommitter:
    """A committer that writes the look-up entries of one partition, together with the partition's offset."""

    must_reopen = False

    def __init__(self, sink: LookupSink, topic: str, partition: int) -> None:
        self._sink = sink
        self._topic = topic
        self._partition = partition
        self._place = (f"{_OFFSETS}{sink.app.conf.id}", f"{topic}/{partition}")
        self._id_place = (self._place[0], f"{self._place[1]}/topic_id")
        self._expected = ""
        self.notes: dict[str, str] = {}

    async def open(self) -> None:
        """Do nothing: a late write by a former owner is rejected anyway, because it expects an older offset."""

    async def committed(self) -> Mapping[str, int | None]:
        """Return the next offset to read, as stored in Redis with the look-up entries; None if no offset is stored."""
        stored = await self._call(READ, self._place)
        self._expected = _text(stored)
        return {self._topic: None if stored is None else int(stored)}

    async def commit(self, outputs: Sequence[OutputRecord], offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Write dead letters to Kafka, then write the look-up entries and the next offset atomically to Redis.

        Raises:
            SinkAwayError: Redis does not answer, or the stored offset is not the expected one.
        """
        dead = [record for record in outputs if record.topic == DEAD_LETTERS]
        if dead:
            await self._sink.dead_letters.keep(dead)
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
        next_offset = str(offsets[self._topic])
        answer = await self._call(WRITE, (*self._place, self._expected, next_offset, written, deleted))
        self._stand(answer == 1)
        self._expected = next_offset
        await self._tell_group(offsets[self._topic])
        return {}

    async def source_ids(self) -> Mapping[str, str]:
        """Return the id of the topic that the stored offset belongs to, if it is stored."""
        stored = await self._call(READ, self._id_place)
        return {} if stored is None else {self._topic: stored.decode()}

    async def keep_source_ids(self, ids: Mapping[str, str]) -> None:
        """Store the topic's id beside the offset."""
        await self._call(KEEP, (*self._id_place, ids[self._topic]))

    async def check(self) -> None:
        """Check the offset stored in Redis, to detect another writer or a loss of data even if no changes arrive.

        Raises:
            SinkAwayError: Redis does not answer, or the stored offset is not the expected one.
        """
        stored = await self._call(READ, self._place)
        self._stand(_text(stored) == self._expected)

    async def close(self) -> None:
        """Do nothing: the connections belong to the sink."""

    def _stand(self, is_expected: bool) -> None:
        if not is_expected:
            raise SinkAwayError(
                f"unexpected offset of {self._topic}/{self._partition} in Redis (expected {self._expected or 'none'}): "
                "another worker has written look-up entries of this partition, or Redis has lost its data"
            )

    async def _call(self, script: Script, argument: Any) -> Any:
        try:
            return await self._sink.client.call(script, _encode(argument))
        except RedisAwayError as error:
            raise SinkAwayError(str(error)) from error

    async def _tell_group(self, offset: int) -> None:
        """Commit the consumer group's offset, so that its lag can be monitored; Kafka errors are ignored."""
        with contextlib.suppress(KafkaError):
            await self._sink.app.partition_supervisor.commit_group_offsets({TP(self._topic, self._partition): offset})


def _text(stored: bytes | None) -> str:
    return "" if stored is None else stored.decode()
