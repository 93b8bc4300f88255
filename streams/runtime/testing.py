"""An in-memory stand-in for a partition, to test agents with `agent.test_context()` without any server.

    stand_in = StandIn(app, processor=order_completion)
    async with app.agents["order"].test_context() as agent:
        await agent.put(stand_in.batch("mysql.project_db.orders", [(key, value)]))
    assert stand_in.written("order_final") == [...]

`StandIn` runs the same fold and processor in the same steps as a real partition, but keeps its store in memory and
appends the records of each transaction to a list. `await stand_in.fire_timers(now_ms)` runs the callbacks of the timers
that are due at a given source time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.schema import changes_of
from streams.runtime.partition.batch import Fold, OutputRecord, RecordBatch
from streams.runtime.partition.processor import Processor
from streams.runtime.partition.turn import Turn
from streams.runtime.state.codec import STATELESS, StateCodec


@dataclass(frozen=True)
class Consumed:
    """A source record with the same fields as a record from a Kafka consumer."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes | None]] = ()


class MemoryPartition:
    """The `PartitionView` of a `StandIn`; it finds timers by reading all states.

    Attributes:
        unsettled: number of pending follow-ups (actions after a commit).
    """

    incarnation = "0123456789abcdef0123456789abcdef"

    def __init__(self, number: int, store: Mapping[bytes, bytes], codec: StateCodec[Any]) -> None:
        self.number = number
        self.now_ms = 0
        self.unsettled = 0
        self._store = store
        self._codec = codec

    def timers(
        self, kind: int, *, after: tuple[int, bytes] | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (time, key) of each timer of the given kind, oldest first; times are in milliseconds since 1970."""
        entries = []
        for key, state in self._store.items():
            entry = self._codec.timer_of(self._codec.decode(state))
            if entry is not None and entry[0] == kind and (until_ms is None or entry[1] <= until_ms):
                entries.append((entry[1], key))
        return (entry for entry in sorted(entries) if after is None or entry > after)

    def count(self, kind: int) -> int:
        """Return the number of timers of the given kind."""
        return sum(1 for _ in self.timers(kind))

    def pending_follow_up(self) -> Callable[[], None]:
        """Count a follow-up as pending; return the function that marks it as done."""
        self.unsettled += 1

        def done() -> None:
            self.unsettled -= 1

        return done


class StandIn:
    """An in-memory partition of one of the application's pipelines (the first, unless `pipeline` names another).

    Attributes:
        view: the partition as seen by the processor.
        records: all output records and dead letters committed so far, in order.
        counts: number of records by processing result, counted as in a worker.
        fail_next: error to raise instead of committing the next turn (micro-batch), which then has no effect.
    """

    def __init__(
        self,
        app: TransactionalApp,
        *,
        processor: Processor | None = None,
        partition: int = 0,
        pipeline: str | None = None,
    ) -> None:
        chosen = next(each for each in app.pipelines if pipeline in (None, each.name))
        self._app = app
        self._processor = chosen.processor if processor is None else processor
        self._has_state = chosen.table is not None
        self._codec: StateCodec[Any] = STATELESS if chosen.table is None else chosen.table.codec
        self._offsets: Counter[str] = Counter()
        self._store: dict[bytes, bytes] = {}
        self.view = MemoryPartition(partition, self._store, self._codec)
        self.records: list[OutputRecord] = []
        self.counts: Counter[str] = Counter()
        self.fail_next: Exception | None = None

    def batch(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> RecordBatch:
        """Build a decoded batch of a source topic from `(key, value)` pairs, to pass to `agent.put`."""
        first, number = self._offsets[topic], self.view.number
        now_ms = int(time.time() * 1000)
        consumed = [Consumed(topic, number, first + i, key, value, now_ms) for i, (key, value) in enumerate(records)]
        self._offsets[topic] += len(records)
        batch = RecordBatch(topic, number, first, consumed, self)
        batch.changes = changes_of(consumed, self._app.decoders.get(topic))
        return batch

    async def accept(self, batch: RecordBatch, fold: Fold) -> int:
        """Fold, publish and commit the batch in one turn (micro-batch); return its number of records."""
        turn = self._turn()
        turn.fold([(batch, fold)])
        await self._finish(turn)
        return len(batch)

    async def fire_timers(self, now_ms: int) -> None:
        """Run a turn (micro-batch) for the timers due at the source time `now_ms` (milliseconds since 1970)."""
        self.view.now_ms = now_ms
        turn = self._turn()
        turn.fire(list(self._processor.due_timers(self.view)))
        await self._finish(turn)

    def _turn(self) -> Turn:
        return Turn(self._store.get, self._codec, self._processor.dead_letter)

    async def _finish(self, turn: Turn) -> None:
        outputs = await self._processor.publish(turn, self.view)
        states = turn.encoded_states() if self._has_state else []
        failure, self.fail_next = self.fail_next, None
        if failure is not None:
            raise failure
        self.records += [*outputs, *turn.rejected]
        for key, state in states:
            if state is None:
                self._store.pop(key, None)
            else:
                self._store[key] = state
        self.counts.update(turn.counts)
        self._processor.committed(turn, self.view)

    def written(self, topic: str) -> list[OutputRecord]:
        """Return the records written to a topic, in order."""
        return [record for record in self.records if record.topic == topic]

    def state(self, key: bytes) -> Any:
        """Return the decoded state of a key, or None if the key has no state."""
        stored = self._store.get(key)
        return None if stored is None else self._codec.decode(stored)
