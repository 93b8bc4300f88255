"""Workers that lack one safeguard each; a scenario has to catch every one of them.

    python -m tests.faults.mutants NAME -A streams.orders worker …

runs the real Faust command line on the real application, after the safeguard called NAME was taken out; `none` takes
out nothing. Mutants run without the Redis guard, which is a second guard and would hide what the first one lacks.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.faults import faults_in_process


def no_emitted_flag() -> None:
    """The state does not remember that its order was published."""
    from streams.model import order
    from streams.model.published import CompleteOrder

    real: Callable[..., Any] = order._decide

    def decide(state: Any, *rest: Any) -> Any:
        outcome = real(state, *rest)
        if isinstance(outcome, CompleteOrder):
            state.emission = order.Emission.PENDING
        return outcome

    _replace(order, "_decide", decide)


def state_before_commit() -> None:
    """Local state is written before the transaction, as stock Faust does."""
    from streams.runtime.partition.task import PartitionTask

    real: Callable[..., Any] = PartitionTask._commit

    async def commit(self: Any, turn: Any, *rest: Any) -> None:
        self._store.write(turn.encoded_states(), self._store.changelog_offset or 0, turn.timer_changes())
        await real(self, turn, *rest)

    _replace(PartitionTask, "_commit", commit)


def offsets_outside() -> None:
    """The source's offsets are committed in a transaction of their own, before the outputs'."""
    from streams.runtime.partition.committer import KafkaTransactions

    real: Callable[..., Any] = KafkaTransactions._commit

    async def commit(self: Any, part: Any) -> Any:
        if part.offsets:
            await real(self, replace(part, outputs=[]))
        return await real(self, replace(part, offsets={}))

    _replace(KafkaTransactions, "_commit", commit)


def no_fencing() -> None:
    """Every opening takes a transactional id of its own, so none ends another's right to write."""
    from streams.runtime.partition.committer import KafkaTransactions

    real: Callable[..., Any] = KafkaTransactions.__init__

    def init(self: Any, *, transactional_id: str, **rest: Any) -> None:
        real(self, transactional_id=f"{transactional_id}-{uuid.uuid4()}", **rest)

    _replace(KafkaTransactions, "__init__", init)


def futures_not_awaited() -> None:
    """The transaction is committed without checking whether the batches were accepted."""
    from aiokafka.errors import KafkaError

    from streams.runtime.partition import committer
    from streams.runtime.partition.transaction import last_offset, send_part

    async def commit(self: Any, part: Any) -> Mapping[str, int]:
        producer, written = self._producer, {}
        await producer.begin_transaction()
        sent = await send_part(producer, part)
        if part.offsets:
            await producer.send_offsets_to_transaction(part.places(), self.group)
        await producer.commit_transaction()
        for topic, batches in sent.items():
            try:
                written[topic] = await last_offset(batches)
            except KafkaError:
                continue  # what a program never hears of that does not wait for its futures
        return written

    _replace(committer.KafkaTransactions, "_commit", commit)


def same_epoch() -> None:
    """A worker goes on in the same epoch after a request that had to be repeated."""
    from streams.runtime.partition.committer import KafkaTransactions

    _replace(KafkaTransactions, "must_reopen", False)


def names_not_ended() -> None:
    """Who opens a partition does not initialise the shared ids that its changelog names."""
    from streams.runtime.partition.shared_ids import SharedIds

    async def end(self: SharedIds, name: str) -> None:
        """Leave it as it is."""

    _replace(SharedIds, "end", end)


def no_sweep() -> None:
    """No sweep follows a snapshot. The workers are as they should be: the scenario leaves the sweep out."""


def no_origin() -> None:
    """Changes of another server are processed like those of the known one."""
    from streams.runtime.partition.origins import OriginCheck

    async def passed(self: OriginCheck, batches: Any) -> Any:
        return batches, None

    _replace(OriginCheck, "passed", passed)


@dataclass(frozen=True)
class Mutant:
    """A safeguard that is removed, the row that has to notice, the invariant that shows it, and settings for it."""

    install: Callable[[], None]
    row: str
    caught_by: frozenset[str]
    settings: Mapping[str, str] = field(default_factory=dict)


MUTANTS: Mapping[str, Mutant] = {
    "no_emitted_flag": Mutant(no_emitted_flag, "0", frozenset({"I2"})),
    "state_before_commit": Mutant(state_before_commit, "R", frozenset({"I1"})),
    "offsets_outside": Mutant(offsets_outside, "R", frozenset({"I1"})),
    "no_fencing": Mutant(no_fencing, "4", frozenset({"I2"})),
    "futures_not_awaited": Mutant(futures_not_awaited, "R", frozenset({"I1"})),
    "same_epoch": Mutant(same_epoch, "18", frozenset({"I1"})),
    "names_not_ended": Mutant(names_not_ended, "4", frozenset({"I2"}), {"SHARED_TRANSACTIONS": "on"}),
    "no_sweep": Mutant(no_sweep, "23", frozenset({"truth"})),
    "no_origin": Mutant(no_origin, "20", frozenset({"fault"})),
}


def _replace(owner: Any, name: str, by: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more: adapt the mutant"
    setattr(owner, name, by)


def main() -> None:
    """Remove a safeguard, then run Faust."""
    name = sys.argv.pop(1)
    faults_in_process.install()  # and Faust reads the arguments while it is imported
    faults_in_process.install_in_the_runtime()
    if name != "none":
        MUTANTS[name].install()
    from faust.cli.faust import cli

    cli(prog_name="faust")


if __name__ == "__main__":
    main()
