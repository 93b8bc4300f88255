"""Goal: two deployments that complete the same orders let each one out once between them, whatever happens to either.

Method: a state machine with a shop and two deployments that share their locks; each reads at its own pace, in turns
that may die before the commit, after it, or before Redis has the marks. In the end one deployment is retired, its
claims are released, and nothing that is complete may be missing. A second machine loses the state of one application
again and again. Wrong variants of the code have to fail in the same machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Never

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from agents.completion import OrderCompletion
from agents.guard import claim_filter
from agents.guard.guard import Answer, Claim
from streams.model.order import Emission
from streams.model.published import CompleteOrder, IncompleteOrder
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.processor import PartitionView
from streams.runtime.partition.turn import Turn
from tests.unit.agents.deployment import OVERDUE_MS, Deployment, Fate
from tests.unit.agents.fake_guard import FakeGuard
from tests.unit.model.dict_shop import DETAILS, ORDERS, TOPICS, Shop
from tests.unit.model.order_oracle import check_sequence, expected, said
from tests.unit.model.strategies import (
    Step,
    counts,
    moves,
    order_ids,
    play,
    put_lines,
    put_order,
    quantities,
    removals,
    repeats,
    rewind,
    snapshots_and_rotations,
    stretches,
    topics,
)

fates = st.sampled_from([Fate.WELL, Fate.WELL, *Fate])
names = st.sampled_from(["one", "two"])
events = rewind | st.sampled_from([("restart",), ("write_marks",)])


class Deployments(RuleBasedStateMachine):
    """A shop, and deployments that read its topics."""

    app_ids: tuple[str, ...] = ("one", "two")
    completion: type[OrderCompletion] = OrderCompletion
    guard: type[FakeGuard] = FakeGuard

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop()
        self.locks: dict[str, str] = {}
        self.deployments = {
            app_id: Deployment(self.shop, self.locks, app_id, completion=self.completion, guard=self.guard)
            for app_id in self.app_ids
        }

    def of(self, name: str) -> Deployment:
        return self.deployments.get(name) or self.deployments[self.app_ids[0]]

    @initialize(num_products=counts, quantities=quantities)
    def open_shop(self, num_products: int, quantities: dict[int, int]) -> None:
        self.shop.put_order("A", num_products, 1)
        self.shop.put_lines("A", quantities)

    @rule(step=put_order | put_lines)
    def put(self, step: Step) -> None:
        play(self.shop, [step])

    @rule(step=removals | moves | repeats | snapshots_and_rotations)
    def something_else_happens(self, step: Step) -> None:
        play(self.shop, [step])

    @rule(milliseconds=st.sampled_from([1, OVERDUE_MS // 2, OVERDUE_MS]))
    def time_passes(self, milliseconds: int) -> None:
        self.shop.wait(milliseconds)

    @rule(name=names, topic=topics, count=stretches, fate=fates)
    def read(self, name: str, topic: str, count: int, fate: Fate) -> None:
        self.of(name).read(topic, count, fate)

    @rule(name=names, fate=fates)
    def fire_timers(self, name: str, fate: Fate) -> None:
        self.of(name).fire_timers(fate)

    @rule(name=names, first=topics, fate=fates)
    def read_both(self, name: str, first: str, fate: Fate) -> None:
        for topic in sorted(TOPICS, key=lambda topic: topic != first):
            self.of(name).read(topic, 100, fate)

    @rule(name=names, event=events)
    def something_happens_to(self, name: str, event: Step) -> None:
        play(self.of(name), [event])

    @invariant()
    def every_order_went_out_once_at_most(self) -> None:
        final = Counter(
            output.order_id
            for deployment in self.deployments.values()
            for output in deployment.outputs
            if isinstance(output, CompleteOrder)
        )
        assert [order_id for order_id, times in final.items() if times > 1] == []

    def ids(self) -> list[str]:
        return sorted(self.shop.orders.keys() | {order_id for order_id, _ in self.shop.details} | {"A", "B"})

    def retire(self, deployment: Deployment) -> None:
        """Its end, and `locks release` of what it had claimed."""
        deployment.restart()
        deployment.write_marks()
        for order_id, lock in self.locks.items():
            if lock.startswith(f"claimed:{deployment.app_id}:"):
                self.locks[order_id] = "released"


class TwoDeployments(Deployments):
    """Two application ids."""

    @rule(order_id=order_ids)
    def run_out(self, order_id: str) -> None:
        self.let_lock_run_out(order_id)

    def let_lock_run_out(self, order_id: str) -> None:
        """Once nobody needs it to hear that the order went out; the guard cannot know it any more than this."""
        heard = [deployment.state(order_id) for deployment in self.deployments.values()]
        if self.locks.get(order_id, "").startswith("emitted:") and all(
            state.denied or state.emission is not Emission.PENDING for state in heard
        ):
            del self.locks[order_id]

    @invariant()
    def what_each_has_published_is_sound(self) -> None:
        for deployment in self.deployments.values():
            for order_id in self.ids():
                if outputs := deployment.published(order_id):
                    check_sequence(order_id, outputs)

    @invariant()
    def each_reports_an_order_once_at_most(self) -> None:
        for deployment in self.deployments.values():
            reported = Counter(o.order_id for o in deployment.outputs if isinstance(o, IncompleteOrder))
            assert all(times == 1 for times in reported.values())

    @invariant()
    def no_mark_meets_another_ones(self) -> None:
        assert all(deployment.guard.counts["emitted_twice"] == 0 for deployment in self.deployments.values())

    @rule(name=names)
    def catch_up(self, name: str) -> None:
        deployment = self.of(name)
        deployment.catch_up()
        self.newest_equals_the_database(deployment)

    def newest_equals_the_database(self, deployment: Deployment) -> None:
        for order_id in self.ids():
            if outputs := deployment.published(order_id):
                assert said(outputs[-1]) == expected(self.shop, order_id)

    def teardown(self) -> None:
        retired, stays = self.deployments["one"], self.deployments["two"]
        retired.read(ORDERS, 100)
        retired.read(DETAILS, 100, Fate.DIES_BEFORE_COMMIT)  # and leaves claims behind
        for topic in TOPICS:
            stays.read(topic, 1_000)
        self.retire(retired)
        for order_id in self.ids():
            self.let_lock_run_out(order_id)
        self.shop.put_lines("B", {1: 1})  # the shop goes on
        stays.catch_up()
        self.newest_equals_the_database(stays)
        self.every_order_went_out_once_at_most()
        for order_id in self.ids():
            if expected(self.shop, order_id)["status"] == "complete":
                assert retired.published(order_id) or stays.published(order_id), f"{order_id} is missing"


class LostState(Deployments):
    """One application whose state is lost and made anew; its claims that lead nowhere are released by hand."""

    app_ids = ("one",)

    @rule()
    def lose_state(self) -> None:
        self.of("one").lose_state()

    def teardown(self) -> None:
        deployment = self.of("one")
        deployment.lose_state()
        self.retire(deployment)
        deployment.catch_up()
        self.every_order_went_out_once_at_most()
        for order_id in self.ids():
            outputs = deployment.published(order_id)
            if not outputs:
                assert expected(self.shop, order_id)["status"] != "complete", f"{order_id} is missing"
                continue
            assert isinstance(outputs[0], CompleteOrder)
            # An order that this state never saw complete is unknown to it as one that went out.
            if deployment.state(order_id).emission is Emission.EMITTED:
                assert said(outputs[-1]) == expected(self.shop, order_id)
            else:
                assert expected(self.shop, order_id)["status"] != "complete", f"{order_id} is not stated anew"


for machine in (TwoDeployments, LostState):
    machine.TestCase.settings = settings(max_examples=max(50, settings().max_examples // 3))
TestTwoDeployments = TwoDeployments.TestCase
TestLostState = LostState.TestCase


# -- wrong variants ---------------------------------------------------------------------------------------------------


class BelievesInVanishedLocks(FakeGuard):
    """A key that is gone is permission even for one that was denied."""

    def _claim(self, claim: Claim, token: str) -> Answer:
        return super()._claim(Claim(claim.order_id), token)


class TakesClaimsOver(FakeGuard):
    """The claim of another deployment is no obstacle."""

    def _claim(self, claim: Claim, token: str) -> Answer:
        answer = super()._claim(claim, token)
        return Answer.ACQUIRED if answer is Answer.HELD else answer


class MarksBeforeCommit(OrderCompletion):
    """An order is marked as emitted as soon as it is to be."""

    async def publish(self, turn: Turn, partition: PartitionView) -> list[OutputRecord]:
        records = await super().publish(turn, partition)
        emitted = [o.order_id for o in turn.outcomes if type(o) is CompleteOrder]
        self._mark(emitted, partition, self._guard.mark_emitted)
        self._guard.write_marks()  # type: ignore[attr-defined]  # the fake one
        return records


class ForgetsLostMarks(OrderCompletion):
    """Marks that a former process still owed are not written."""

    def opened(self, partition: PartitionView, recent: object) -> None:
        super().opened(partition, ())


class AsksOnce(OrderCompletion):
    """A held order is not asked for again."""

    def due_timers(self, partition: PartitionView) -> list[Never]:
        return []


Install = Callable[[pytest.MonkeyPatch], type[Deployments]]


def with_guard(machine: type[Deployments], guard: type[FakeGuard]) -> Install:
    return lambda patch: type(guard.__name__, (machine,), {"guard": guard})


def with_completion(machine: type[Deployments], completion: type[OrderCompletion]) -> Install:
    return lambda patch: type(completion.__name__, (machine,), {"completion": completion})


def with_answer(machine: type[Deployments], name: str, replacement: object) -> Install:
    def install(patch: pytest.MonkeyPatch) -> type[Deployments]:
        patch.setattr(claim_filter, name, replacement)
        return machine

    return install


@pytest.mark.parametrize(
    "install",
    [
        pytest.param(with_guard(TwoDeployments, BelievesInVanishedLocks), id="a vanished lock is taken as permission"),
        pytest.param(with_guard(TwoDeployments, TakesClaimsOver), id="another one's claim is taken over"),
        pytest.param(with_completion(TwoDeployments, MarksBeforeCommit), id="marks are written before the commit"),
        pytest.param(with_completion(TwoDeployments, ForgetsLostMarks), id="lost marks are not written again"),
        pytest.param(with_completion(TwoDeployments, AsksOnce), id="a held order is asked for once"),
        pytest.param(
            with_answer(TwoDeployments, "deny", lambda state, *, emitted_elsewhere: None),
            id="the emission of a denied order is not undone",
        ),
        pytest.param(
            with_answer(TwoDeployments, "_DENIALS", {Answer.HELD, Answer.EMITTED_BY_US}),
            id="what another one has emitted is no denial",
        ),
        pytest.param(
            with_answer(LostState, "_DENIALS", {Answer.HELD, Answer.EMITTED_ELSEWHERE}),
            id="what a former state has emitted is emitted again",
        ),
        pytest.param(
            with_answer(LostState, "restate", lambda state, complete: None),
            id="what a former state has emitted is not stated anew",
        ),
    ],
)
def test_a_wrong_variant_is_refuted(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            install(monkeypatch),
            settings=settings(
                max_examples=2_000,
                phases=[Phase.generate],
                derandomize=True,
                database=None,
                report_multiple_bugs=False,
            ),
        )
