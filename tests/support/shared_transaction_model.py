"""A model of partitions that commit with their own ids and with shared ones, searched exhaustively.

What is modelled: two partitions, two workers, and transactional ids. The first worker has both partitions; either
worker may open either of them at any time, while the former owner goes on unaware. A worker makes up shared ids, names
them in the changelogs with the partitions' own ids, and commits turns in rounds or alone. A decided transaction gets
its markers one by one, in each changelog and in the group's offsets, so a reader may see a part of it. The coordinator
may abort an open transaction; the answer to EndTxn may be lost, or its request be held and arrive at any later time.

A search returns the shortest story that ends in a fault:

    twice: an order is committed twice;
    apart: a partition that was opened, and is not fenced, has a state that is not that of its offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from tests.support.state_search import Found, search

OFFSETS: Final = "offsets"


class Rule(Enum):
    """A rule of `streams/runtime/partition/shared_ids.py` that the model may break."""

    END_NAMED = auto()
    """Who opens a partition ends the shared id that its changelog names."""

    READ_AGAIN = auto()
    """It reads the changelog again after that."""

    OWN_FIRST = auto()
    """It initialises the partition's own id before it reads the name."""

    NAME_FIRST = auto()
    """A partition takes part only after it has named the id."""

    END_BEFORE_NEXT = auto()
    """A worker ends the id that it gives up before it begins another one."""

    NEW_AFTER_REPEAT = auto()
    """A worker gives up an id of which a request was repeated."""

    REOPEN_UNKNOWN = auto()
    """After an EndTxn without an answer, the partitions of the round are opened again."""


class Entry(NamedTuple):
    """A record: its place and partition, the id that wrote it, a turn or a name, and whether it has its marker."""

    place: str
    partition: int
    by: str
    value: int | str
    is_marked: bool = False


class Id(NamedTuple):
    """A transactional id: its epoch, and its transaction: none, open, or decided while markers are missing."""

    epoch: int = 0
    status: str = "none"


class Task(NamedTuple):
    """A worker's view of a partition.

    Attributes:
        stage: of its opening: `closed`, `initialise`, `read`, `end`, `open`.
        own: epoch of its own id.
        turn: the next turn.
        named: the shared id that it has named, or has to end.
        ended: the shared id that was over before the changelog was read.
        seen: the turns that were read, if the changelog is not read again.
    """

    stage: str = "closed"
    own: int = 0
    turn: int = 0
    named: str | None = None
    ended: str | None = None
    seen: tuple[int, ...] | None = None


class Worker(NamedTuple):
    """A worker: the shared id that it uses, the one that it has yet to end, those that it has ended, and its round."""

    shared: str | None = None
    given_up: str | None = None
    over: frozenset[str] = frozenset()
    round: frozenset[int] = frozenset()
    tasks: tuple[Task, ...] = (Task(), Task())


class State(NamedTuple):
    """Everything."""

    ids: tuple[tuple[str, Id], ...]
    log: tuple[Entry, ...]
    workers: tuple[Worker, ...]
    committed: tuple[tuple[int, int], ...] = ()
    held: frozenset[tuple[str, int]] = frozenset()
    openings: int = 0
    troubles: int = 0
    made_up: int = 0
    fault: str | None = None


Steps = Iterator[tuple[str, State]]


@dataclass(frozen=True, kw_only=True)
class SharedModel:
    """The rules.

    Attributes:
        broken: the rule that is not kept, if any.
        turns: number of turns of each partition.
        openings: times that a partition is opened.
        troubles: aborts by the coordinator, rounds given up, and answers that are lost or requests that are held.
        ids: number of shared ids that may be made up.
    """

    broken: Rule | None = None
    turns: tuple[int, int] = (1, 0)
    openings: int = 1
    troubles: int = 1
    ids: int = 2

    def search(self) -> Found:
        """Visit all states, breadth first."""
        tasks = (Task("open", 1), Task("open", 1))
        ids = (("own0", Id(1)), ("own1", Id(1)))
        first = State(ids, (), (Worker(tasks=tasks), Worker()), openings=self.openings, troubles=self.troubles)
        return search(first, self.successors, lambda _, following: following.fault)

    def successors(self, state: State) -> Steps:
        """Yield all possible next states with the name of the step."""
        yield from _broker(state)
        for number, worker in enumerate(state.workers):
            for step, following in self._of_worker(state, number, worker):
                yield f"worker {number} {step}", following
            for partition, task in enumerate(worker.tasks):
                for step, following in self._of_task(state, number, worker, partition, task):
                    yield f"worker {number}, partition {partition}: {step}", following

    def _keeps(self, rule: Rule) -> bool:
        return rule is not self.broken

    # -- a partition of a worker --------------------------------------------------------------------------------------

    def _of_task(self, state: State, number: int, worker: Worker, partition: int, task: Task) -> Steps:
        own = _id(state, f"own{partition}")
        if state.openings and partition not in worker.round:
            fewer = state._replace(openings=state.openings - 1)
            stage = "initialise" if self._keeps(Rule.OWN_FIRST) else "read"
            yield "is opened", _put_task(fewer, number, partition, Task(stage))
        if task.stage == "initialise" and own.status != "decided":
            opened = _initialise(state, f"own{partition}")
            after = task._replace(stage="read", own=own.epoch + 1)
            yield "initialises its own id", _put_task(opened, number, partition, after)
        if task.stage == "read":
            yield from self._read(state, number, worker, partition, task)
        if task.stage == "end":
            assert task.named is not None
            yield from self._end_named(state, number, worker, partition, task, task.named)
        if task.stage == "open" and partition not in worker.round:
            if worker.shared is not None and task.named != worker.shared and own.status == "none":
                yield "names the shared id", _alone(state, number, partition, task, own, worker.shared)
            if task.turn < self.turns[partition] and own.status == "none":
                yield "commits alone", _alone(state, number, partition, task, own, task.turn)

    def _read(self, state: State, number: int, worker: Worker, partition: int, task: Task) -> Steps:
        turns, name, offset = _read(state, partition)
        is_ignored = not self._keeps(Rule.END_NAMED) or (not self._keeps(Rule.OWN_FIRST) and task.own > 0)
        is_over = name is None or name == task.ended or is_ignored
        if not is_over:
            seen = None if self._keeps(Rule.READ_AGAIN) else turns
            found = task._replace(stage="end", named=name, seen=seen)
            yield "reads a name", _put_task(state, number, partition, found)
        elif not self._keeps(Rule.OWN_FIRST) and task.own == 0:
            yield "reads", _put_task(state, number, partition, task._replace(stage="initialise"))
        else:
            following = _put_task(state, number, partition, Task("open", task.own, offset))
            is_fenced = _id(state, f"own{partition}").epoch != task.own
            fault = None if turns == tuple(range(offset)) or is_fenced else "apart"
            yield "is open", following._replace(fault=fault)

    def _end_named(self, state: State, number: int, worker: Worker, partition: int, task: Task, name: str) -> Steps:
        known = _id(state, name)
        if known.status == "decided" and name not in worker.over:
            return
        ended = state if name in worker.over else _initialise(state, name)
        shared = None if worker.shared == name else worker.shared
        ended = _put(ended, number, worker._replace(over=worker.over | {name}, shared=shared))
        if self._keeps(Rule.READ_AGAIN):
            yield "ends the named id", _put_task(ended, number, partition, task._replace(stage="read", ended=name))
            return
        _, _, offset = _read(ended, partition)
        opened = _put_task(ended, number, partition, Task("open", task.own, offset))
        fault = None if task.seen == tuple(range(offset)) else "apart"
        yield "ends the named id, is open", opened._replace(fault=fault)

    # -- a worker and its rounds --------------------------------------------------------------------------------------

    def _of_worker(self, state: State, number: int, worker: Worker) -> Steps:
        given_up = worker.given_up
        if given_up is not None and _id(state, given_up).status != "decided":
            ended = _initialise(state, given_up)
            yield "ends its id", _put(ended, number, worker._replace(given_up=None, over=worker.over | {given_up}))
        may_begin = given_up is None or not self._keeps(Rule.END_BEFORE_NEXT)
        if worker.shared is None and may_begin and state.made_up < self.ids and not worker.round:
            name = f"shared{state.made_up}"
            begun = _put(state._replace(made_up=state.made_up + 1), number, worker._replace(shared=name, given_up=None))
            yield f"begins {name}", _put_id(begun, name, Id(1))
        if worker.shared is not None and not worker.round:
            yield from self._begin_round(state, number, worker, worker.shared)
        if worker.shared is not None and worker.round:
            yield from self._end_round(state, number, worker, worker.shared)
        if worker.shared is None and worker.round:
            yield "gives its round up", _put(state, number, worker._replace(round=frozenset()))

    def _begin_round(self, state: State, number: int, worker: Worker, name: str) -> Steps:
        ready = [
            partition
            for partition, task in enumerate(worker.tasks)
            if task.stage == "open"
            and task.turn < self.turns[partition]
            and (task.named == name or not self._keeps(Rule.NAME_FIRST))
        ]
        known = _id(state, name)
        if not ready or known.status == "decided":
            return
        if known.epoch != 1:
            yield "is fenced in a round", _put(state, number, _giving_up(worker))
            return
        for chosen in (ready, ready[:1], ready[1:]):
            if chosen:
                sent = state
                for partition in chosen:
                    sent = _append(sent, partition, name, worker.tasks[partition].turn)
                yield f"sends a round of {chosen}", _put(sent, number, worker._replace(round=frozenset(chosen)))

    def _end_round(self, state: State, number: int, worker: Worker, name: str) -> Steps:
        known = _id(state, name)
        fewer = state._replace(troubles=state.troubles - 1)
        if state.troubles:
            yield "gives its round up", _put(fewer, number, _giving_up(worker))
        if known.epoch != 1 or known.status != "open":
            yield "cannot end its round", _put(state, number, self._lost(_giving_up(worker), worker.round))
            return
        yield "ends its round", _put(_decide(state, name), number, self._done(worker, worker.round))
        if state.troubles:
            lost = self._lost(_giving_up(worker), worker.round)
            yield "ends its round, without an answer", _put(_decide(fewer, name), number, lost)
            repeated = self._done(worker, worker.round)
            if self._keeps(Rule.NEW_AFTER_REPEAT):
                repeated = _giving_up(repeated)
            held = _decide(fewer, name)._replace(held=state.held | {(name, 1)})
            yield "ends its round, by a repeated request", _put(held, number, repeated)

    def _done(self, worker: Worker, partitions: frozenset[int]) -> Worker:
        tasks = (each._replace(turn=each.turn + (number in partitions)) for number, each in enumerate(worker.tasks))
        return worker._replace(tasks=tuple(tasks), round=frozenset())

    def _lost(self, worker: Worker, partitions: frozenset[int]) -> Worker:
        if not self._keeps(Rule.REOPEN_UNKNOWN):
            return worker
        tasks = [Task() if partition in partitions else task for partition, task in enumerate(worker.tasks)]
        return worker._replace(tasks=tuple(tasks))


def _giving_up(worker: Worker) -> Worker:
    return worker._replace(shared=None, given_up=worker.shared or worker.given_up, round=frozenset())


def _alone(state: State, number: int, partition: int, task: Task, own: Id, value: int | str) -> State:
    """Commit a turn or a name in a transaction of the partition's own id; a fenced worker closes the partition."""
    if own.epoch != task.own:
        return _put_task(state, number, partition, Task())
    after = task._replace(named=value) if isinstance(value, str) else task._replace(turn=task.turn + 1)
    name = f"own{partition}"
    return _put_task(_decide(_append(state, partition, name, value), name), number, partition, after)


# -- Kafka ------------------------------------------------------------------------------------------------------------


def _broker(state: State) -> Steps:
    for name, known in state.ids:
        if known.status == "decided":
            for place in sorted({each.place for each in state.log if each.by == name and not each.is_marked}):
                yield f"marker of {name} in {place}", _mark(state, name, place)
        if known.status == "open" and state.troubles:
            aborted = _put_id(_dropped(state, name), name, Id(known.epoch + 1))
            yield f"{name} times out", aborted._replace(troubles=state.troubles - 1)
    for name, epoch in state.held:
        arrived, known = state._replace(held=state.held - {(name, epoch)}), _id(state, name)
        is_taken = known.epoch == epoch and known.status == "open"
        yield f"a late EndTxn of {name}", _decide(arrived, name) if is_taken else arrived


def _append(state: State, partition: int, name: str, value: int | str) -> State:
    places = (f"changelog {partition}",) if isinstance(value, str) else (f"changelog {partition}", OFFSETS)
    entries = tuple(Entry(place, partition, name, value) for place in places)
    return _put_id(state._replace(log=state.log + entries), name, _id(state, name)._replace(status="open"))


def _decide(state: State, name: str) -> State:
    places = [each for each in state.log if each.by == name and not each.is_marked and each.place != OFFSETS]
    orders = tuple((each.partition, each.value) for each in places if isinstance(each.value, int))
    decided = _put_id(state, name, _id(state, name)._replace(status="decided"))
    decided = decided._replace(committed=decided.committed + orders)
    return decided._replace(fault="twice") if len({*decided.committed}) < len(decided.committed) else decided


def _mark(state: State, name: str, place: str) -> State:
    log = tuple(
        each._replace(is_marked=True) if each.by == name and each.place == place else each for each in state.log
    )
    is_complete = all(each.is_marked for each in log if each.by == name)
    known = _id(state, name)
    return _put_id(state._replace(log=log), name, known._replace(status="none" if is_complete else "decided"))


def _dropped(state: State, name: str) -> State:
    return state._replace(log=tuple(each for each in state.log if each.by != name or each.is_marked))


def _initialise(state: State, name: str) -> State:
    known = _id(state, name)
    assert known.status != "decided", "InitProducerId waits for the markers"
    return _put_id(_dropped(state, name), name, Id(known.epoch + 1))


def _read(state: State, partition: int) -> tuple[tuple[int, ...], str | None, int]:
    """Return the turns and the name before the changelog's first record without a marker, and the offset."""
    turns: list[int] = []
    name, offset = None, 0
    for each in state.log:
        if each.place == f"changelog {partition}":
            if not each.is_marked:
                break
            if isinstance(each.value, int):
                turns.append(each.value)
            else:
                name = each.value
    for each in state.log:
        if each.place == OFFSETS and each.partition == partition and each.is_marked and isinstance(each.value, int):
            offset = each.value + 1
    return tuple(turns), name, offset


def _id(state: State, name: str) -> Id:
    return dict(state.ids)[name]


def _put_id(state: State, name: str, known: Id) -> State:
    return state._replace(ids=tuple(sorted({**dict(state.ids), name: known}.items())))


def _put(state: State, number: int, worker: Worker) -> State:
    return state._replace(workers=(*state.workers[:number], worker, *state.workers[number + 1 :]))


def _put_task(state: State, number: int, partition: int, task: Task) -> State:
    worker = state.workers[number]
    tasks = (*worker.tasks[:partition], task, *worker.tasks[partition + 1 :])
    return _put(state, number, worker._replace(tasks=tasks))
