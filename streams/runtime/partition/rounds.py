"""Rounds: turns of several partitions of a worker, begun together and committed in one Kafka transaction.

A transaction costs Kafka about the same whether one partition takes part or ten. So all partitions that wait begin
their turns together, as a round; each folds its changes and decides what to publish; and when all are ready, one
transaction with an id that they share commits their records and offsets. The partitions that have begun to wait
meanwhile are the next round. `shared_ids.py` has the rules that keep this safe.

A partition commits with its own id, as without rounds, if it has not named the shared id in its changelog yet, if its
turn is large, without input, or not ready in time, and if its round is given up. A round can be given up, together with
its id, until the request that ends its transaction is sent: nobody will send that request any more, so its turns will
not be committed. Afterwards the outcome is unknown, and all partitions of the round have to be opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from aiokafka.errors import IllegalOperation, KafkaError

from streams.runtime.partition.gate import Gate
from streams.runtime.partition.round import Round, RoundLostError, Shared
from streams.runtime.partition.shared_ids import SharedIds
from streams.runtime.partition.shared_producer import SharedProducer
from streams.runtime.partition.transaction import PREPARED_BATCH_BYTES, Part, send_all

log = logging.getLogger(__name__)

MOST_PARTITIONS: Final = 64
MOST_TURN_BYTES: Final = PREPARED_BATCH_BYTES
"""Size of a turn above which it commits by itself. Together with `MOST_PARTITIONS`, it keeps a produce request well
below the 100 MB that a broker accepts by default."""

PAUSE_S: Final = 0.002
"""Pause between two rounds, in which the partitions of the former one take their places again."""

GIVE_UP_S: Final = 2.0
"""Time after which a round is given up. One partition without a leader must not hold up the others for longer; but
where everything is slow, giving up makes many transactions of one."""

END_TIMEOUT_S: Final = 60.0


class Rounds:
    """The rounds of a pipeline in this worker, and the gate that admits its turns.

    Args:
        group: returns the name of the consumer group that the offsets belong to.
        ids: the shared ids.
        is_active: whether turns are committed in rounds at all; ids that others have named are ended in any case.
    """

    def __init__(self, group: Callable[[], str], ids: SharedIds, *, is_active: bool) -> None:
        self.ids = ids
        self._group = group
        self._is_active = is_active
        self._own = Gate()
        self._shared: SharedProducer | None = None
        self._named: dict[int, str] = {}
        self._waiting: dict[asyncio.Future[Round | None], tuple[int, Callable[[], float]]] = {}
        self._seats: dict[int, Round] = {}
        self._round: Round | None = None
        self._transactions: set[asyncio.Task[None]] = set()

    # -- names --------------------------------------------------------------------------------------------------------

    def name_for(self, partition: int) -> str | None:
        """Return the id that a partition has to name in its changelog before it takes part; None if there is none."""
        if not self._is_active:
            return None
        if self._shared is None:
            self._shared = SharedProducer(self.ids)
        name = self._shared.name
        return None if name == self._named.get(partition) else name

    def named(self, partition: int, name: str) -> None:
        """Let a partition take part: a transaction of its own id has just written the name to its changelog."""
        self._named[partition] = name

    def forget(self, partition: int) -> None:
        """Let a partition take part no more, because it is opened or closed."""
        self._named.pop(partition, None)

    def _takes(self, partition: int) -> bool:
        name = None if self._shared is None else self._shared.name
        return name is not None and self._named.get(partition) == name

    async def end(self, name: str) -> None:
        """End a shared id that an opening partition's changelog names; if it is the present one, after the round."""
        if self._shared is not None and self._shared.name == name:
            self._give_up(f"a partition that named {name} is opened again")
            if self._transactions:
                await asyncio.wait([*self._transactions], timeout=GIVE_UP_S)
        await self.ids.end(name)

    # -- admission ----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def admitted(self, partition: int, rank: Callable[[], float]) -> AsyncIterator[None]:
        """Wait until the turn of a partition may begin, as part of a round or by itself."""
        seat = await self._seat(partition, rank) if self._takes(partition) else None
        if seat is None:
            async with self._own.admitted(rank):
                yield
            return
        self._seats[partition] = seat
        try:
            yield
        finally:
            del self._seats[partition]
            seat.leave(partition)

    async def _seat(self, partition: int, rank: Callable[[], float]) -> Round | None:
        admission: asyncio.Future[Round | None] = asyncio.get_running_loop().create_future()
        self._waiting[admission] = partition, rank
        if self._round is None:
            self._open_round()
        try:
            return await admission
        except asyncio.CancelledError:
            if admission.done() and not admission.cancelled() and (seat := admission.result()) is not None:
                seat.leave(partition)  # admitted and cancelled at the same moment
            raise
        finally:
            self._waiting.pop(admission, None)

    def _open_round(self) -> None:
        waiting = [admission for admission in self._waiting if not admission.done()]
        if not waiting or self._round is not None or self._shared is None:
            return
        waiting.sort(key=lambda admission: self._waiting[admission][1]())
        chosen = [(admission, self._waiting.pop(admission)[0]) for admission in waiting[:MOST_PARTITIONS]]
        partitions = {partition for _, partition in chosen}
        self._round = opened = Round(self._shared.name, partitions, begin=self._begin, over=self._over)
        for admission, _ in chosen:
            admission.set_result(opened)

    def _over(self, ended: Round) -> None:
        if self._round is not ended:
            return
        self._round = None
        asyncio.get_running_loop().call_later(PAUSE_S, self._open_round)

    # -- transactions -------------------------------------------------------------------------------------------------

    async def commit(self, part: Part) -> Shared | None:
        """Commit a turn with its round; return None if it is in no round, and not in Kafka: it has to commit by itself.

        Raises:
            RoundLostError: the outcome is unknown.
        """
        seat = self._seats.get(part.partition)
        if seat is None or not self._takes(part.partition):
            return None
        if sum(len(record.key or b"") + len(record.value or b"") for record in part.outputs) > MOST_TURN_BYTES:
            seat.leave(part.partition)
            return None
        return await seat.joined(part)

    def _begin(self, begun: Round) -> None:
        shared = self._shared
        if shared is None or shared.name is None or shared.name != begun.name:
            begun.decide(None)
            return
        task = asyncio.create_task(self._transact(begun, shared), name=f"round-{shared.name}")
        self._transactions.add(task)
        task.add_done_callback(self._transactions.discard)

    async def _transact(self, begun: Round, shared: SharedProducer) -> None:
        parts, producer = [*begun.parts.values()], shared.producer
        try:
            async with asyncio.timeout(GIVE_UP_S):
                sent = await send_all(producer, self._group(), parts)
        except (KafkaError, IllegalOperation, OSError, TimeoutError) as error:
            self._give_up(f"its round of {len(parts)} partitions failed: {error!r}", shared)
            begun.decide(None)
            return
        except BaseException as error:
            begun.fail(error)
            raise
        await self._end(begun, shared, sent)

    async def _end(self, begun: Round, shared: SharedProducer, sent: Sequence[Mapping[str, int]]) -> None:
        """Commit; from here on, the outcome is unknown until Kafka has answered."""
        slow = asyncio.get_running_loop().call_later(GIVE_UP_S, self._give_up, "Kafka does not answer", shared)
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await shared.producer.commit_transaction()
        except BaseException as error:
            self._give_up(f"the outcome of a round is unknown: {error!r}", shared)
            begun.fail(RoundLostError(f"the outcome of a transaction of {shared.made_up} is unknown: {error!r}"))
            if not isinstance(error, KafkaError | IllegalOperation | OSError | TimeoutError):
                raise
        else:
            is_repeated = shared.producer.unanswered is not None
            if is_repeated:
                self._give_up(f"{shared.producer.unanswered} was not answered", shared)
            begun.decide({part: Shared(each, is_repeated) for part, each in zip(begun.parts, sent, strict=True)})
        finally:
            slow.cancel()

    def _give_up(self, reason: str, shared: SharedProducer | None = None) -> None:
        """Use the present shared id no more; the partitions commit with their own ids until there is another one."""
        current = self._shared
        if current is None or current.name is None or shared not in (None, current):
            return
        log.warning("the shared id %s is given up: %s", current.name, reason)
        current.give_up(after=self._transactions - {asyncio.current_task()})
        self._round = None
        for admission in [*self._waiting]:
            if not admission.done():
                admission.set_result(None)

    async def close(self) -> None:
        """Give up the shared id, and close its connections, when all partitions are closed."""
        shared, self._shared = self._shared, None
        if shared is not None:
            if self._transactions:
                await asyncio.wait([*self._transactions], timeout=GIVE_UP_S)
            await shared.close()
