"""Goal: turns of several partitions share a transaction, and none is lost or repeated when one of its steps fails.

Method: the real rounds and committers over transactions in memory (`transactions_in_memory.py`). Two workers are two
`Rounds`; a worker that is frozen is one whose next step has not run yet.
"""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaError, ProducerFenced

from streams.runtime.partition import committer as committer_module
from streams.runtime.partition import rounds as rounds_module
from streams.runtime.partition import shared_producer
from streams.runtime.partition.round import JOIN_S, RoundLostError
from streams.runtime.partition.rounds import MOST_PARTITIONS, MOST_TURN_BYTES
from tests.support.async_waiting import LIVENESS_S
from tests.support.transactions_in_memory import MemoryKafka
from tests.unit.runtime.rounds_testbed import Worker, once, turns, worker_in_rounds

PARTITIONS = range(3)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_producer, "RENEWAL_PAUSE_S", 0.01)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> MemoryKafka:
    kafka = MemoryKafka()
    monkeypatch.setattr(
        committer_module,
        "PartitionProducer",
        lambda *, transactional_id, **_: kafka.producer(transactional_id),
    )
    return kafka


# -- who takes part ----------------------------------------------------------------------------------------------------


async def test_turns_that_wait_while_a_round_is_under_way_share_the_next_transaction(kafka: MemoryKafka) -> None:
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    assert await turns(worker, *PARTITIONS) == [None] * 3
    assert kafka.ended == [(name, {0}), (name, {1, 2})]
    assert once(kafka, *PARTITIONS)


async def test_without_the_setting_each_partition_commits_with_its_own_id(kafka: MemoryKafka) -> None:
    worker = Worker(kafka, is_active=False)
    await worker.open(*PARTITIONS)
    await turns(worker, *PARTITIONS)
    assert kafka.ended == [(f"own-{number}", {number}) for number in PARTITIONS]
    assert worker.rounds.name_for(0) is None
    assert kafka.initialised == [f"own-{number}" for number in PARTITIONS]


async def test_a_partition_that_has_not_named_the_id_commits_with_its_own(kafka: MemoryKafka) -> None:
    worker, _ = await worker_in_rounds(kafka, 0, 1)
    await worker.open(2)
    await turns(worker, *PARTITIONS)
    assert [each for each in kafka.ended if 2 in each[1]] == [("own-2", {2})]
    assert once(kafka, *PARTITIONS)


async def test_a_partition_that_is_opened_again_has_to_name_the_id_again(kafka: MemoryKafka) -> None:
    worker, name = await worker_in_rounds(kafka, 0)
    await worker.open(0)
    await turns(worker, 0)
    assert kafka.ended == [("own-0", {0})]
    assert worker.rounds.name_for(0) == name


async def test_a_turn_that_takes_long_does_not_hold_up_the_others(kafka: MemoryKafka) -> None:
    worker, _ = await worker_in_rounds(kafka, *PARTITIONS)
    guard = asyncio.Event()
    await turns(worker, 1)  # the next round begins after a pause, so all of them are in it
    slow = asyncio.create_task(worker.turn(0, wait=guard.wait()))
    await turns(worker, 1, 2, offset=2)
    assert not slow.done()
    guard.set()
    await slow
    assert ("own-0", {0}) in kafka.ended
    assert kafka.offsets == {("orders", 0): 1, ("orders", 1): 2, ("orders", 2): 2}
    assert JOIN_S < 1


async def test_a_large_turn_commits_alone(kafka: MemoryKafka) -> None:
    worker, _ = await worker_in_rounds(kafka, 0, 1)
    await worker.turn(0, value=b"x" * (MOST_TURN_BYTES + 1))
    assert kafka.ended == [("own-0", {0})]


async def test_a_round_has_a_limited_number_of_partitions(kafka: MemoryKafka) -> None:
    many = range(MOST_PARTITIONS + 2)
    worker, _ = await worker_in_rounds(kafka, *many)
    await turns(worker, *many)
    assert [len(numbers) for _, numbers in kafka.ended] == [1, MOST_PARTITIONS, 1]
    assert kafka.ended[1][1] == set(range(1, MOST_PARTITIONS + 1)), "the oldest come first"


async def test_a_turn_that_fails_before_it_commits_leaves_its_round(kafka: MemoryKafka) -> None:
    worker, _ = await worker_in_rounds(kafka, *PARTITIONS)

    async def broken() -> None:
        raise ZeroDivisionError

    async def failing() -> None:
        with pytest.raises(ZeroDivisionError):
            await worker.turn(1, wait=broken())

    async with asyncio.timeout(LIVENESS_S):
        await asyncio.gather(worker.turn(0), failing(), worker.turn(2))
    assert once(kafka, 0, 2)


async def test_a_turn_that_is_cancelled_while_it_waits_leaves_its_round(kafka: MemoryKafka) -> None:
    worker, _ = await worker_in_rounds(kafka, *PARTITIONS)
    first = asyncio.create_task(worker.turn(0))
    waiting = asyncio.create_task(worker.turn(1))
    await asyncio.sleep(0)
    waiting.cancel()
    await first
    await turns(worker, 2)
    assert once(kafka, 0, 2)


# -- rounds that fail --------------------------------------------------------------------------------------------------


def failing_once(kafka: MemoryKafka, of: str, step: str, error: Exception) -> None:
    """Let the first such step of a shared id fail before it is done."""
    left = [error]

    async def script(name: str, at: str) -> None:
        if name.startswith("app-shared") and (name, at) == (of, step) and left:
            raise left.pop()

    kafka.script = script


async def test_a_round_that_fails_before_its_end_is_committed_with_the_own_ids(kafka: MemoryKafka) -> None:
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    failing_once(kafka, name, "send", KafkaError("refused"))
    assert await turns(worker, *PARTITIONS) == [None] * 3
    assert {each for each, _ in kafka.ended} == {"own-0", "own-1", "own-2"}
    assert once(kafka, *PARTITIONS)
    assert not worker.committers[0].must_reopen


async def test_an_id_that_another_worker_has_ended_is_given_up(kafka: MemoryKafka) -> None:
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    kafka.initialise(name)
    assert await turns(worker, *PARTITIONS) == [None] * 3
    assert once(kafka, *PARTITIONS)
    other = await worker.name(*PARTITIONS)
    assert other != name
    kafka.ended.clear()
    await turns(worker, *PARTITIONS, offset=2)
    assert {each for each, _ in kafka.ended} == {other}


async def test_a_slow_round_is_given_up_before_its_end(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "GIVE_UP_S", 0.05)
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)

    async def no_leader(of: str, step: str) -> None:
        if (of, step) == (name, "send"):
            await asyncio.Event().wait()

    kafka.script = no_leader
    assert await turns(worker, *PARTITIONS) == [None] * 3
    assert once(kafka, *PARTITIONS)
    assert name not in {each for each, _ in kafka.ended}


@pytest.mark.parametrize("is_committed", [True, False])
async def test_after_an_end_without_an_answer_all_partitions_of_the_round_fail(
    kafka: MemoryKafka, is_committed: bool
) -> None:
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    failure = KafkaError("no answer")
    if is_committed:

        async def answers(of: str, step: str) -> None:
            if of == name:
                raise failure

        kafka.answers = answers
    else:
        failing_once(kafka, name, "end", failure)
    found = await turns(worker, *PARTITIONS)
    assert isinstance(found[0], RoundLostError)
    assert kafka.values("final").count(b"order 1 of 0") == is_committed


async def test_after_an_end_that_hangs_the_others_go_on_with_their_own_ids(
    kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_module, "GIVE_UP_S", 0.05)
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    answer = asyncio.Event()

    async def hanging(of: str, step: str) -> None:
        if (of, step) == (name, "end"):
            await answer.wait()

    kafka.script = hanging
    first = asyncio.create_task(worker.turn(0))
    await turns(worker, 1, 2)
    assert {each for each, _ in kafka.ended} == {"own-1", "own-2"}
    assert kafka.initialised.count(name) == 1, "the id is not ended by its own worker while its end is under way"
    answer.set()
    await first
    assert once(kafka, *PARTITIONS)
    assert await worker.name(*PARTITIONS) != name


async def test_a_request_that_was_repeated_opens_all_partitions_of_the_round_again(kafka: MemoryKafka) -> None:
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    shared = worker.rounds._shared
    assert shared is not None
    shared.producer.unanswered = "ProduceRequest"  # type: ignore[misc]  # a producer in memory
    await turns(worker, 0)
    assert worker.committers[0].must_reopen
    assert not worker.committers[1].must_reopen
    assert worker.rounds.name_for(1) != name, "a late copy could end the next transaction of the id"
    assert once(kafka, 0)


# -- the order of names and ends ---------------------------------------------------------------------------------------


async def test_the_next_id_can_be_named_only_when_the_former_one_is_over(kafka: MemoryKafka) -> None:
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    may_end = asyncio.Event()

    async def markers_missing(of: str, step: str) -> None:
        if (of, step) == (name, "initialise"):
            await may_end.wait()

    kafka.script = markers_missing
    kafka.ids[name].epoch += 1
    await turns(worker, 0)
    await asyncio.sleep(0.1)
    assert worker.rounds.name_for(0) is None
    may_end.set()
    assert await worker.name(0) != name


async def test_a_frozen_worker_cannot_commit_a_round_after_another_one_has_opened_its_partition(
    kafka: MemoryKafka,
) -> None:
    frozen, name = await worker_in_rounds(kafka, *PARTITIONS)
    other = Worker(kafka)
    await other.open(1)
    await other.rounds.end(name)  # as `naming.read_when_over` does
    kafka.ended.clear()
    found = await turns(frozen, *PARTITIONS)
    assert [type(each) for each in found] == [type(None), ProducerFenced, type(None)]
    assert once(kafka, 0, 2)


async def test_a_mutant_that_does_not_end_the_named_id_repeats_an_order(kafka: MemoryKafka) -> None:
    frozen, _ = await worker_in_rounds(kafka, *PARTITIONS)
    other = Worker(kafka)
    await other.open(1)
    await turns(other, 1)
    await turns(frozen, *PARTITIONS)
    assert kafka.values("final").count(b"order 1 of 1") == 2


async def test_an_id_is_ended_once_in_a_process(kafka: MemoryKafka) -> None:
    worker = Worker(kafka)
    await asyncio.gather(*[worker.rounds.end("app-shared-x") for _ in PARTITIONS])
    await worker.rounds.end("app-shared-x")
    assert kafka.initialised == ["app-shared-x"]


async def test_an_id_that_could_not_be_ended_is_tried_again(kafka: MemoryKafka) -> None:
    worker = Worker(kafka)
    failing_once(kafka, "app-shared-x", "initialise", KafkaError("away"))
    with pytest.raises(KafkaError):
        await worker.rounds.end("app-shared-x")
    await worker.rounds.end("app-shared-x")
    assert kafka.initialised == ["app-shared-x"]


async def test_a_partition_that_is_opened_again_ends_the_id_of_its_own_worker_after_the_round(
    kafka: MemoryKafka,
) -> None:
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    may_end = asyncio.Event()

    async def slow(of: str, step: str) -> None:
        if (of, step) == (name, "end"):
            await may_end.wait()

    kafka.script = slow
    running = asyncio.create_task(worker.turn(0))
    await asyncio.sleep(0.01)
    opening = asyncio.create_task(worker.rounds.end(name))
    await turns(worker, 2)
    assert ("own-2", {2}) in kafka.ended
    may_end.set()
    await asyncio.gather(running, opening)
    assert once(kafka, 0, 2)
    assert kafka.initialised.count(name) == 2


async def test_closing_gives_the_id_up(kafka: MemoryKafka) -> None:
    worker, name = await worker_in_rounds(kafka, *PARTITIONS)
    shared = worker.rounds._shared
    assert shared is not None
    await worker.rounds.close()
    assert shared.producer.is_stopped
    assert await worker.name(0) != name
