"""Goal: a fenced worker learns from the group whether it still owns its partitions, and takes nothing else for a yes.

Method: the question on a client whose coordinator gives the answers of a real one; a real group is asked in
`tests/streams`. A paused process is one whose last heartbeat succeeded and whose next one is refused.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import aiokafka
import pytest
from aiokafka import errors

from streams.runtime.faust import consumer_thread
from streams.runtime.faust.consumer_thread import is_member
from streams.runtime.faust.supervisor import PartitionSupervisor
from streams.runtime.stats import RuntimeStats

GENERATION = 7


class Coordinator:
    """aiokafka's view of the group, and the answers that its coordinator gives."""

    group_id = "shop"

    def __init__(self, *answers: type[errors.KafkaError] | BaseException, generation: int = GENERATION) -> None:
        self.generation = generation
        self.member_id = "me" if generation >= 0 else ""
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def _send_req(self, request: Any) -> Any:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, TimeoutError):
            await asyncio.Event().wait()
        if isinstance(answer, BaseException):
            raise answer
        return SimpleNamespace(error_code=answer.errno)

    @property
    def client(self) -> aiokafka.AIOKafkaConsumer:
        return cast(Any, SimpleNamespace(_coordinator=self))


async def test_a_member_of_the_generation_is_confirmed_by_a_new_heartbeat() -> None:
    coordinator = Coordinator(errors.NoError)
    assert await is_member(coordinator.client, GENERATION)
    [request] = coordinator.asked
    assert (request._group, request._generation_id, request._member_id) == ("shop", GENERATION, "me")


@pytest.mark.parametrize(
    "answer",
    [
        errors.UnknownMemberIdError,
        errors.IllegalGenerationError,
        errors.RebalanceInProgressError,
        errors.NotCoordinatorForGroupError,
        errors.GroupCoordinatorNotAvailableError(),
        errors.RequestTimedOutError(),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
async def test_any_other_answer_is_no_confirmation(
    monkeypatch: pytest.MonkeyPatch, answer: type[errors.KafkaError] | BaseException
) -> None:
    monkeypatch.setattr(consumer_thread, "MEMBERSHIP_TIMEOUT_S", 0.05)
    assert not await is_member(Coordinator(answer).client, GENERATION)


@pytest.mark.parametrize("generation", [-1, GENERATION - 1, GENERATION + 1])
async def test_a_client_of_another_generation_is_not_even_asked(generation: int) -> None:
    coordinator = Coordinator(errors.NoError, generation=generation)
    assert not await is_member(coordinator.client, GENERATION)
    assert coordinator.asked == []


async def test_the_supervisor_asks_until_the_group_confirms_the_generation_of_its_assignment() -> None:
    answers = [errors.RebalanceInProgressError, errors.GroupCoordinatorNotAvailableError(), errors.NoError]
    coordinator = Coordinator(*answers)
    consumer = SimpleNamespace(is_member=lambda generation: is_member(coordinator.client, generation))
    conf = SimpleNamespace(broker_heartbeat_interval=0.001)
    app: Any = SimpleNamespace(conf=conf, consumer=consumer, stats=RuntimeStats())
    supervisor = PartitionSupervisor(app, cast(Any, None), loop=asyncio.get_running_loop())
    supervisor._generation = GENERATION
    await asyncio.wait_for(supervisor.confirm_ownership(), 20)
    assert coordinator.answers == []
