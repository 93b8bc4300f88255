"""Offsets of source partitions in Redis, beside what a sink writes there; both are changed by one script call.

    {prefix}{app id}    hash, `{topic}/{partition}` → the next offset to read
                              `{topic}/{partition}/topic_id` → id of the topic that the offset belongs to

A sink's script rejects a write if the stored offset is not the one that the worker expects: the worker was suspended
while another worker took over, or Redis has lost its data. The rejected worker reopens the partition and resumes at the
stored offset, or at the beginning of the topic if no offset is stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.adapters.redis import RedisAwayError, Script, ScriptCaller
from streams.model.errors import SinkAwayError
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.partition.batch import OutputRecord
from streams.topics import DEAD_LETTERS
from tables.dead_letters import DeadLetterProducer

READ: Final = Script("""\
-- {hash, field} -> the stored next offset, or nil
local hash, field = unpack(cmsgpack.unpack(ARGV[1]))
return redis.call('HGET', hash, field)
""")

KEEP: Final = Script("""\
-- {hash, field, text} -> nil; stores a text
local hash, field, text = unpack(cmsgpack.unpack(ARGV[1]))
redis.call('HSET', hash, field, text)
""")

_encode = msgspec.msgpack.Encoder().encode


class RedisSink(Protocol):
    """What a committer needs of its sink: the client, the application, and the producer of dead letters."""

    client: ScriptCaller
    app: TransactionalApp
    dead_letters: DeadLetterProducer


class RedisOffset:
    """The offset of one partition: the part of a committer that is the same for every sink in Redis.

    Args:
        prefix: beginning of the name of the hash with the application's offsets.
        content: what the sink writes, for error messages.
    """

    must_reopen = False

    def __init__(self, sink: RedisSink, topic: str, partition: int, *, prefix: str, content: str) -> None:
        self.notes: dict[str, str] = {}
        self._client, self._app, self._dead_letters = sink.client, sink.app, sink.dead_letters
        self._topic = topic
        self._partition = partition
        self._content = content
        self._place = (f"{prefix}{sink.app.conf.id}", f"{topic}/{partition}")
        self._id_place = (self._place[0], f"{self._place[1]}/topic_id")
        self._expected = ""

    async def open(self) -> None:
        """Do nothing: a late write by a former owner is rejected anyway, because it expects an older offset."""

    async def committed(self) -> Mapping[str, int | None]:
        """Return the next offset to read, as stored in Redis; None if no offset is stored."""
        stored = await self._call(READ, self._place)
        self._expected = stored_text(stored)
        return {self._topic: None if stored is None else int(stored)}

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
        self._stand(stored_text(stored) == self._expected)

    async def close(self) -> None:
        """Do nothing: the connections belong to the sink."""

    async def _keep_dead_letters(self, outputs: Sequence[OutputRecord]) -> None:
        """Write the dead letters among the outputs to Kafka: they must be there before the offset moves.

        A small write comes first: a full Redis, which answers but takes none, would get them again with every try.
        """
        dead = [record for record in outputs if record.topic == DEAD_LETTERS]
        if dead:
            await self._call(KEEP, (self._place[0], f"{self._place[1]}/letters", str(len(dead))))
            await self._dead_letters.keep(dead)

    async def _moved(self, script: Script, argument: Any, offset: int) -> None:
        """Run a sink's script, which moves the offset and returns 1 unless another offset is stored."""
        self._stand(await self._call(script, argument) == 1)
        self._expected = str(offset)
        with contextlib.suppress(KafkaError):  # the group's offset only shows the lag
            await self._app.partition_supervisor.commit_group_offsets({TP(self._topic, self._partition): offset})

    def _stand(self, is_expected: bool) -> None:
        if not is_expected:
            raise SinkAwayError(
                f"unexpected offset of {self._topic}/{self._partition} in Redis (expected {self._expected or 'none'}): "
                f"another worker has written {self._content} of this partition, or Redis has lost its data"
            )

    async def _call(self, script: Script, argument: Any) -> Any:
        try:
            return await self._client.call(script, _encode(argument))
        except RedisAwayError as error:
            raise SinkAwayError(str(error)) from error


def stored_text(stored: bytes | None) -> str:
    """Return a stored value as text; empty if there is none."""
    return "" if stored is None else stored.decode()
