"""A stand-in for a partition, to test agents by `agent.test_context()` without any server.

    stand_in = StandIn(app, flow=order_completion)
    async with app.agents["order"].test_context() as agent:
        await agent.put(stand_in.batch("mysql.project_db.orders", [(key, value)]))
    assert stand_in.written("order_final") == [...]

It runs the same fold, the same flow and the same order of steps as a partition, on a store in memory; its transaction
is a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streams.runtime.app import BatchApp
from streams.runtime.batch import Batch, Fold, OutputRecord
from streams.runtime.flow import Flow
from streams.runtime.turn import Turn


@dataclass(frozen=True)
class Consumed:
    """A source record as a consumer would have it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


class StandIn:
    """A partition of `app` in memory.

    Attributes:
        records: everything its turns wrote, in order.
        counts: records by fate, as a worker counts them.
        fail_next: an error to raise in place of the next turn's transaction, after which nothing of it is kept.
    """

    def __init__(self, app: BatchApp, *, flow: Flow | None = None, partition: int = 0) -> None:
        self._app = app
        self._flow = app.flow if flow is None else flow
        self._partition = partition
        self._offsets: Counter[str] = Counter()
        self._store: dict[bytes, bytes] = {}
        self.records: list[OutputRecord] = []
        self.counts: Counter[str] = Counter()
        self.fail_next: Exception | None = None

    def batch(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> Batch:
        """A decoded batch of `(key, value)` records of a source topic, for `agent.put`."""
        first = self._offsets[topic]
        consumed = [Consumed(topic, self._partition, first + i, key, value) for i, (key, value) in enumerate(records)]
        self._offsets[topic] += len(records)
        batch = Batch(topic, self._partition, first, consumed, self)
        batch.changes = [self._app.decoders[topic](record.key, record.value) for record in consumed]
        return batch

    async def accept(self, batch: Batch, fold: Fold) -> int:
        """Run a whole turn on the batch."""
        codec = self._app.state_table.codec
        turn = Turn(self._store.get, codec, self._flow.dead_letter)
        turn.fold([(batch, fold)])
        outputs = await self._flow.publish(turn.outcomes, self._partition)
        states = turn.encoded_states()
        failure, self.fail_next = self.fail_next, None
        if failure is not None:
            raise failure
        self.records += [*outputs, *turn.refused]
        self._store.update(states)
        self.counts.update(turn.counts)
        self._flow.committed(turn.outcomes)
        return len(batch)

    def written(self, topic: str) -> list[OutputRecord]:
        """The records written to a topic, in order."""
        return [record for record in self.records if record.topic == topic]

    def state(self, key: bytes) -> Any:
        """The state kept for a key, None if there is none."""
        stored = self._store.get(key)
        return None if stored is None else self._app.state_table.codec.decode(stored)
