"""A model of exactly-once turns over Kafka transactions whose requests may arrive late, searched exhaustively.

What is modelled: one partition, transactions of version 1 (the epoch stays the same from transaction to transaction),
workers that claim an order in the lock guard, send its state, the order and the offset in one transaction, and mark the
claim. The network may lose an answer, or hold a request and deliver it at any later time; the client repeats the
request in both cases. A worker may be interrupted at any step and open the partition again, and another worker may take
the partition over while the first one goes on unaware.

A search visits every state that can be reached, and returns the shortest story that ends in a fault, if any:

    twice: an order is visible twice; lost: all turns are done, and an order is not visible;
    back: a transaction commits the offset of an earlier one, so that records and dead letters come again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from tests.support.state_search import Found, search

ORDERS: Final = 2
STATE, ORDER, OFFSET = "state", "order", "offset"
RECORDS: Final = frozenset({STATE, ORDER})
END: Final = "EndTxn"
OFFSETS: Final = "TxnOffsetCommit"
ADD: Final = "AddPartitionsToTxn"


class Mend(Enum):
    """What a worker does before its next transaction, after a request of the last one had to be repeated."""

    NONE = "goes on in the same epoch, as the client does"
    NEW_EPOCH = "initialises its producer again, and goes on with what it has in memory"
    REOPEN = "opens the partition again: new epoch, then state and offsets are read"


class Copy(NamedTuple):
    """A request that the network holds."""

    name: str
    app: int
    epoch: int
    offset: int


class Log(NamedTuple):
    """What the broker keeps for an application: the transactional id, and what is committed."""

    epoch: int = 0
    is_open: bool = False
    added: frozenset[str] = frozenset()
    pending: tuple[tuple[str, int], ...] = ()
    states: frozenset[int] = frozenset()
    offset: int = 0


class Worker(NamedTuple):
    """A worker: the next step of its turn, and what it has in memory; `step` is None if it has given up.

    `known` are the orders whose states said, when the partition was opened, that they were emitted.
    """

    app: int
    step: str | None = None
    turn: int = 0
    epoch: int = -1
    emits: bool = False
    known: frozenset[int] = frozenset()
    unsent: frozenset[str] = RECORDS | {OFFSET}
    has_repeated: bool = False


class State(NamedTuple):
    """Everything; `claims` has for each order the application that claimed it, and whether it is marked."""

    logs: tuple[Log, ...]
    workers: tuple[Worker, ...]
    visible: tuple[int, ...] = ()
    claims: tuple[tuple[int, bool] | None, ...] = (None,) * ORDERS
    held: frozenset[Copy] = frozenset()
    openings: int = 0
    delays: int = 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """The rules; `successors` yields every state that may follow.

    Attributes:
        mend: what workers do after a repeated request.
        apps: application of each worker. Workers of one application share its log; applications share the guard.
        openings: times that a partition is opened by an interrupted or another worker.
        delays: requests whose answer is lost, or that are held.
        late: requests that may be held.
    """

    mend: Mend
    apps: tuple[int, ...] = (0, 0)
    openings: int = 2
    delays: int = 1
    late: frozenset[str] = frozenset({END})

    def search(self) -> Found:
        """Visit all states, breadth first."""
        workers = tuple(Worker(app) for app in self.apps)
        first = State((Log(),) * (max(self.apps) + 1), workers, openings=self.openings, delays=self.delays)
        for number, app in enumerate(self.apps):
            if app not in self.apps[:number]:
                first = _open(first, number)
        return search(first, self.successors, _fault)

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield all possible next states with the name of the step."""
        for copy in state.held:
            arrived = _receive(state._replace(held=state.held - {copy}), copy)
            yield f"late {copy.name} of epoch {copy.epoch}", arrived or state._replace(held=state.held - {copy})
        for number, worker in enumerate(state.workers):
            if state.openings:
                opened = _open(state, number)._replace(openings=state.openings - 1)
                yield f"worker {number} opens the partition", opened
            if worker.step is not None:
                for step, following in getattr(self, f"_{worker.step}")(state, number, worker):
                    yield f"worker {number}, turn {worker.turn}: {step}", following

    # -- the steps of a turn ------------------------------------------------------------------------------------------

    def _claim(self, state: State, number: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if worker.turn == ORDERS:
            return
        claim = state.claims[worker.turn]
        if not worker.emits or claim is None or claim[0] == worker.app:
            claims = list(state.claims)
            claims[worker.turn] = (claim or (worker.app, False)) if worker.emits else claim
            yield "claims", _put(state._replace(claims=tuple(claims)), number, worker._replace(step="add"))
        elif claim[1]:
            emitted_elsewhere = worker._replace(step="add", unsent=frozenset({STATE, OFFSET}))
            yield "is refused: emitted by another", _put(state, number, emitted_elsewhere)

    def _add(self, state: State, number: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if not worker.emits:
            only_offset = worker._replace(step="send", unsent=frozenset({OFFSET}))
            yield "has no records to send", _put(state, number, only_offset)
            return
        yield from self._ask(state, number, ADD, worker._replace(step="send"))

    def _send(self, state: State, number: int, worker: Worker) -> Iterator[tuple[str, State]]:
        """Records and offsets go to several brokers, in any order; each verifies that they are of the transaction."""
        log = state.logs[worker.app]
        if not worker.unsent:
            yield "has sent all", _put(state, number, worker._replace(step="end"))
        if OFFSET in worker.unsent:
            yield from self._ask(state, number, OFFSETS, worker._replace(unsent=worker.unsent - {OFFSET}))
        for kind in worker.unsent & RECORDS:
            if log.epoch != worker.epoch or kind not in log.added:
                yield f"{kind} is rejected", self._fail(state, number)
                continue
            sent = log._replace(pending=(*log.pending, (kind, worker.turn)))
            after = worker._replace(unsent=worker.unsent - {kind})
            yield f"sends the {kind}", _put(_put_log(state, worker.app, sent), number, after)

    def _end(self, state: State, number: int, worker: Worker) -> Iterator[tuple[str, State]]:
        yield from self._ask(state, number, END, worker._replace(step="mark"))

    def _mark(self, state: State, number: int, worker: Worker) -> Iterator[tuple[str, State]]:
        claims = tuple(
            (claim[0], True) if claim and at == worker.turn and claim[0] == worker.app and worker.emits else claim
            for at, claim in enumerate(state.claims)
        )
        state = state._replace(claims=claims)
        if worker.has_repeated and self.mend is Mend.REOPEN:
            yield "marks, opens the partition again", _open(state, number)
            return
        epoch, following = worker.epoch, worker.turn + 1
        if worker.has_repeated and self.mend is Mend.NEW_EPOCH:
            state = _initialise(state, worker.app)
            epoch = state.logs[worker.app].epoch
        after = Worker(worker.app, "claim", following, epoch, following not in worker.known, worker.known)
        yield "marks", _put(state, number, after)

    def _ask(self, state: State, number: int, name: str, after: Worker) -> Iterator[tuple[str, State]]:
        """Send a request to the coordinator: it is answered, or lost on one of its ways and then repeated."""
        worker = state.workers[number]
        request = Copy(name, worker.app, worker.epoch, worker.turn + 1)
        answered = _receive(state, request)
        if answered is None:
            yield f"{name} is rejected", self._fail(state, number)
            return
        yield name, _put(answered, number, after)
        if state.delays and name in self.late:
            repeating = worker._replace(has_repeated=True)
            fewer = state._replace(delays=state.delays - 1)
            lost = _receive(fewer, request)
            assert lost is not None
            yield f"{name}, the answer is lost", _put(lost, number, repeating)
            yield f"{name} is held", _put(fewer._replace(held=state.held | {request}), number, repeating)

    def _fail(self, state: State, number: int) -> State:
        """Open the partition again after an error if it is still this worker's, else give up."""
        worker = state.workers[number]
        if state.logs[worker.app].epoch == worker.epoch:
            return _open(state, number)
        return _put(state, number, Worker(worker.app))


# -- the broker -------------------------------------------------------------------------------------------------------


def _receive(state: State, request: Copy) -> State | None:
    """Handle a request of the transaction's coordinator; None if it is rejected."""
    log = state.logs[request.app]
    if request.epoch != log.epoch:
        return None
    if request.name == ADD:
        return _put_log(state, request.app, log._replace(is_open=True, added=log.added | RECORDS))
    if request.name == OFFSETS:  # with AddOffsetsToTxn, which is its first half
        pending = (*log.pending, (OFFSET, request.offset))
        return _put_log(state, request.app, log._replace(is_open=True, added=log.added | {OFFSET}, pending=pending))
    return _commit(state, request.app) if log.is_open else state


def _commit(state: State, app: int) -> State:
    log = state.logs[app]
    offsets = [value for kind, value in log.pending if kind == OFFSET]
    committed = log._replace(
        is_open=False,
        added=frozenset(),
        pending=(),
        states=log.states | {value for kind, value in log.pending if kind == STATE},
        offset=offsets[-1] if offsets else log.offset,
    )
    orders = tuple(value for kind, value in log.pending if kind == ORDER)
    return _put_log(state, app, committed)._replace(visible=state.visible + orders)


def _initialise(state: State, app: int) -> State:
    """InitProducerId: what is open is aborted, and the epoch grows."""
    log = state.logs[app]
    return _put_log(state, app, log._replace(epoch=log.epoch + 1, is_open=False, added=frozenset(), pending=()))


def _open(state: State, number: int) -> State:
    app = state.workers[number].app
    state = _initialise(state, app)
    log = state.logs[app]
    return _put(state, number, Worker(app, "claim", log.offset, log.epoch, log.offset not in log.states, log.states))


def _put(state: State, number: int, worker: Worker) -> State:
    return state._replace(workers=(*state.workers[:number], worker, *state.workers[number + 1 :]))


def _put_log(state: State, app: int, log: Log) -> State:
    return state._replace(logs=(*state.logs[:app], log, *state.logs[app + 1 :]))


# -- what must hold ---------------------------------------------------------------------------------------------------


def _fault(before: State, after: State) -> str | None:
    if len(set(after.visible)) != len(after.visible):
        return "twice"
    if any(_sets_back(*logs) for logs in zip(before.logs, after.logs, strict=True)):
        return "back"
    is_done = all(log.offset == ORDERS for log in after.logs) and not after.held
    return "lost" if is_done and len(after.visible) != ORDERS else None


def _sets_back(before: Log, after: Log) -> bool:
    """Whether a transaction committed another offset than the highest that was sent in it."""
    is_committed = before.is_open and not after.is_open and before.epoch == after.epoch
    sent = [value for kind, value in before.pending if kind == OFFSET]
    return is_committed and bool(sent) and max(sent) != after.offset
