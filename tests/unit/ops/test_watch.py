"""`ConnectorWatch`: failed tasks start again, each snapshot is followed by a sweep, and an outage is said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, cast

import pytest

from ops.connector.pause import FIRST_PAUSE_S, LONGEST_PAUSE_S
from ops.connector.rest import ConnectClient
from ops.connector.sweep import SweptTable
from ops.connector.watch import CLOSE_S, READER_S, ConnectorWatch, LateTables, Work
from stack.errors import StackError

NAME = "shop-connector"
STREAMING = {"file": "binlog.000001", "pos": 4}


class Connect:
    """Kafka Connect with one connector.

    Attributes:
        task: state of the only task; None: the connector does not exist.
        state: state of the connector itself.
        positions: committed positions by the connector's name in the records.
        restarts: number of restarts.
        error: what each request raises.
        refusal: what a restart raises.
    """

    def __init__(self) -> None:
        self.task: str | None = "RUNNING"
        self.state = "RUNNING"
        self.refusal: StackError | None = None
        self.positions: dict[str, dict[str, Any]] = {"shop": STREAMING}
        self.prefix = "shop"
        self.restarts = 0
        self.error: StackError | None = None

    def status(self, name: str) -> dict[str, Any] | None:
        if self.error is not None:
            raise self.error
        assert name == NAME
        if self.task is None:
            return None
        task = {"id": 0, "state": self.task, "trace": "ConnectException: the log is gone\n\tat …"}
        return {"connector": {"state": self.state}, "tasks": [task]}

    def config(self, name: str) -> dict[str, str]:
        return {"topic.prefix": self.prefix}

    def offsets(self, name: str) -> list[dict[str, Any]]:
        return [{"partition": {"server": server}, "offset": offset} for server, offset in self.positions.items()]

    def restart(self, name: str) -> None:
        self.restarts += 1
        if self.refusal is not None:
            raise self.refusal


class Done:
    """Work that has ended."""

    def is_alive(self) -> bool:
        return False

    def join(self, timeout: float | None = None) -> None:
        """Return at once."""


class World:
    """A watch with everything around it."""

    def __init__(self, late: LateTables | None = None) -> None:
        self.connect = Connect()
        self.now = 1_000.0
        self.said: list[str] = []
        self.sweeps = 0
        self.refusal: StackError | None = None
        self.reader: object | None = None
        connect = cast(ConnectClient, self.connect)
        self.during: Callable[[], None] = lambda: None
        self.watch = ConnectorWatch(
            connect,
            NAME,
            sweep=self.sweep,
            say=self.said.append,
            late=late,
            begin=self.begin,
            reader=lambda: self.reader,
            clock=lambda: self.now,
        )

    def begin(self, work: Callable[[], None]) -> Work:
        """Do the work at once, and what is to happen meanwhile."""
        work()
        self.during()
        return Done()

    def sweep(self) -> Iterable[SweptTable]:
        self.sweeps += 1
        yield SweptTable(table="orders", topic_rows=10, gone=2)
        if self.refusal is not None:
            raise self.refusal
        yield SweptTable(table="customers", topic_rows=5, gone=0)

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.watch.look()


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_look_at_a_running_connector_sweeps_and_later_ones_do_not(world: World) -> None:
    world.look(5)
    assert world.sweeps == 1
    assert world.said == [
        "orders: deleted 2 of 10 rows, not in the source",
        f"{NAME}: swept",
        f"{NAME} is running",
    ]


@pytest.mark.parametrize("before", [{"file": "binlog.000001", "pos": 4, "snapshot": "INITIAL"}, None])
def test_a_sweep_follows_each_snapshot(world: World, before: dict[str, Any] | None) -> None:
    world.look()
    for number in (2, 3):
        world.connect.positions = {} if before is None else {"shop": before}
        world.look(3)
        assert world.sweeps == number - 1, "not while the snapshot is running"
        world.connect.positions = {"shop": STREAMING}
        world.look(3)
        assert world.sweeps == number


def test_the_position_of_a_former_epoch_says_nothing_about_the_snapshot_of_the_new_one(world: World) -> None:
    world.look(2)
    world.connect.prefix = "shop.e1"
    world.look(2)
    assert world.watch.is_sweep_due
    world.connect.positions["shop.e1"] = STREAMING
    world.look()
    assert world.sweeps == 2


@pytest.mark.parametrize("is_seen", [True, False], ids=["snapshot", "not running"])
def test_a_snapshot_that_begins_while_a_sweep_is_under_way_is_followed_by_another(world: World, is_seen: bool) -> None:
    def interrupt() -> None:
        world.during = lambda: None
        if is_seen:
            world.connect.positions = {"shop": {"file": "binlog.000001", "pos": 4, "snapshot": "INITIAL"}}
        else:
            world.connect.task = "UNASSIGNED"

    world.during = interrupt
    world.look(2)
    assert world.watch.is_sweep_due
    world.connect.positions, world.connect.task = {"shop": STREAMING}, "RUNNING"
    world.look(3)
    assert world.sweeps == 2
    assert not world.watch.is_sweep_due


def test_a_connector_that_was_away_is_swept_although_no_snapshot_was_seen(world: World) -> None:
    world.look(3)
    world.connect.error = StackError("Connect at http://connect:8083: no connection in 3 tries")
    world.look()
    world.connect.error = None
    world.look(2)
    assert world.sweeps == 2


def test_a_stop_between_two_looks_is_noticed_by_the_reader_of_the_log() -> None:
    world = World(late := Late(True, True, True))
    world.reader = (12, "10:00")
    world.look(4)
    assert (world.sweeps, late.doubts) == (1, 1)
    for reader, sweeps in (((12, "10:00"), 1), (None, 1), ((12, "10:00"), 1), ((12, "10:07"), 2), ((15, "10:09"), 3)):
        world.reader = reader
        world.look(4)
        world.now += READER_S
        world.look(4)
        assert (world.sweeps, late.doubts) == (sweeps, sweeps), reader
    assert sum("has begun to read the log anew" in line for line in world.said) == 2


def test_the_database_is_not_asked_for_the_reader_at_every_look(world: World) -> None:
    asked: list[float] = []
    connect = cast(ConnectClient, world.connect)
    watch = ConnectorWatch(
        connect,
        NAME,
        sweep=world.sweep,
        say=world.said.append,
        reader=lambda: asked.append(world.now),
        clock=lambda: world.now,
    )
    for _ in range(20):
        watch.look()
        world.now += 1.0
    assert len(asked) == 2


def test_a_failed_task_is_started_again_at_growing_intervals(world: World) -> None:
    world.look()
    world.connect.task = "FAILED"
    began, times = world.now, []
    while world.now < began + 4 * LONGEST_PAUSE_S:
        before = world.connect.restarts
        world.look()
        if world.connect.restarts > before:
            times.append(world.now - began)
        world.now += 1.0
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert max(pauses) == LONGEST_PAUSE_S
    assert sum("the log is gone" in line for line in world.said) == len(times)
    world.connect.task = "RUNNING"
    world.look()
    world.now += LONGEST_PAUSE_S
    world.look()
    world.connect.task = "FAILED"
    before = world.connect.restarts
    world.look()
    assert world.connect.restarts == before + 1, "a new failure does not wait for the pause of the former ones"


def test_no_sweep_begins_while_the_connector_does_not_run(world: World) -> None:
    for state in ("FAILED", "UNASSIGNED", "PAUSED", None):
        world.connect.task = state
        world.look(2)
    assert world.sweeps == 0
    world.connect.task = "RUNNING"
    world.look()
    assert world.sweeps == 1


def test_a_sweep_that_refuses_is_tried_again_after_a_pause_and_says_why(world: World) -> None:
    world.refusal = StackError("table customers: 5 of 5 rows are not in the source; run the command with --force")
    world.look(10)
    assert world.sweeps == 1
    assert world.said[-1] == str(world.refusal)
    world.now += FIRST_PAUSE_S
    world.refusal = None
    world.look(2)
    assert world.sweeps == 2
    assert not world.watch.is_sweep_due


def test_an_outage_of_connect_is_said_once_and_ends_nothing(world: World) -> None:
    world.connect.error = StackError("Connect at http://connect:8083: no connection in 3 tries")
    world.look(20)
    assert world.said == [str(world.connect.error)]
    world.connect.error = None
    world.look(2)
    assert world.sweeps == 1


def test_a_connector_that_does_not_exist_is_named_with_the_command_that_creates_it(world: World) -> None:
    world.connect.task = None
    world.look(3)
    assert world.said == [f"{NAME} does not exist; create it with `millrace connector apply`"]


def test_a_task_that_fails_again_soon_after_each_start_is_started_at_growing_intervals_too(world: World) -> None:
    began = world.now
    while world.now < began + LONGEST_PAUSE_S:
        world.connect.task = "FAILED"
        world.look()
        world.connect.task = "RUNNING"
        world.now += 1.0
        world.look()
    assert world.connect.restarts <= 7, "5, 10, 20, 40, 80, 160 s apart"


def test_a_restart_that_connect_rejects_is_tried_at_growing_intervals_too(world: World) -> None:
    world.connect.task, world.connect.refusal = "FAILED", StackError("Connect rejected POST with status 409")
    began = world.now
    while world.now < began + LONGEST_PAUSE_S:
        world.look()
        world.now += 1.0
    assert world.connect.restarts <= 7
    assert world.said == [str(world.connect.refusal)]


@pytest.mark.parametrize("state", ["PAUSED", "STOPPED"])
def test_a_connector_that_an_operator_has_paused_is_left_alone(world: World, state: str) -> None:
    world.connect.state, world.connect.task = state, "FAILED"
    world.look(3)
    assert (world.connect.restarts, world.sweeps) == (0, 0)
    assert state in world.said[-1]


def test_a_position_without_a_place_in_the_log_is_not_the_end_of_a_snapshot(world: World) -> None:
    world.connect.positions = {"shop": {"pos": 4}}
    world.look(3)
    assert world.sweeps == 0


@pytest.mark.parametrize(
    ("position", "is_over"),
    [
        ({"lsn": 24_023_128, "lsn_proc": 24_023_128}, True),
        ({"lsn": 24_023_128, "snapshot": "INITIAL", "last_snapshot_record": False}, False),
        ({"file": "log.000003", "pos": 4}, True),
        ({"file": "log.000003", "pos": 4, "snapshot": True}, False),
    ],
)
def test_a_place_in_the_log_of_either_engine_ends_a_snapshot(
    world: World, position: dict[str, Any], is_over: bool
) -> None:
    world.connect.positions = {"shop": position}
    world.look()
    assert bool(world.sweeps) == is_over


def test_a_watch_that_ends_waits_for_the_table_of_its_sweep_and_for_no_other(world: World) -> None:
    limits: list[float | None] = []

    class Sweeping(Done):
        def __init__(self, work: Callable[[], None]) -> None:
            self.work = work

        def is_alive(self) -> bool:
            return True

        def join(self, timeout: float | None = None) -> None:
            limits.append(timeout)
            self.work()

    tables: list[str] = []

    def sweep() -> Iterable[SweptTable]:
        for table in ("orders", "customers"):
            tables.append(table)
            yield SweptTable(table=table, topic_rows=10, gone=0)

    connect = cast(ConnectClient, world.connect)
    watch = ConnectorWatch(connect, NAME, sweep=sweep, say=world.said.append, begin=Sweeping)
    watch.look()
    watch.close()
    assert (limits, tables) == ([CLOSE_S], ["orders"])


class Late:
    """The tables that the initial snapshot leaves out.

    Attributes:
        answers: what the calls of `tend` return, or raise.
        tended: number of these calls.
        doubts: number of times that all reads came into doubt.
    """

    def __init__(self, *answers: bool | StackError) -> None:
        self.answers = list(answers)
        self.tended = self.doubts = 0

    def tend(self, say: Callable[[str], None]) -> bool:
        self.tended += 1
        answer = self.answers.pop(0)
        if isinstance(answer, StackError):
            raise answer
        return answer

    def doubt(self) -> None:
        self.doubts += 1


def test_the_tables_left_out_are_tended_until_they_are_read_and_again_after_an_interruption() -> None:
    world = World(late := Late(False, False, True, True))
    world.look(8)
    assert (world.sweeps, late.tended, late.doubts) == (1, 3, 1)
    world.connect.task = "UNASSIGNED"
    world.look()
    world.connect.task = "RUNNING"
    world.look(8)
    assert (world.sweeps, late.tended, late.doubts) == (2, 4, 2)


def test_a_sweep_that_is_refused_does_not_keep_the_tables_left_out_from_being_read() -> None:
    world = World(late := Late(False, True))
    world.refusal = StackError("orders: 30 of 40 rows are not in the source")
    world.look(8)
    assert (world.sweeps, late.tended, late.doubts) == (1, 2, 1)


def test_tables_are_not_tended_while_a_snapshot_is_running() -> None:
    world = World(late := Late())
    world.connect.positions = {"shop": {"file": "binlog.000001", "pos": 4, "snapshot": "INITIAL"}}
    world.look(5)
    assert late.tended == 0


def test_an_incremental_read_is_no_snapshot() -> None:
    world = World(late := Late(True))
    world.connect.positions = {"shop": STREAMING | {"snapshot": "INCREMENTAL"}}
    world.look(4)
    assert (world.sweeps, late.tended) == (1, 1)


def test_a_failure_to_tend_is_said_and_tried_again_after_a_pause() -> None:
    world = World(late := Late(StackError("no database"), True))
    world.look(5)
    assert world.said.count("no database") == 1
    assert late.tended == 1
    world.now += FIRST_PAUSE_S
    world.look(3)
    assert late.tended == 2
    assert world.sweeps == 1, "only what failed is repeated"


def test_a_watch_says_whether_the_connector_was_running_at_its_last_look(world: World) -> None:
    seen = [world.watch.is_up]
    for task in ("RUNNING", "FAILED", "UNASSIGNED", None, "RUNNING"):
        world.connect.task = task
        world.watch.look()
        seen.append(world.watch.is_up)
    world.connect.error = StackError("Connect does not answer")
    world.watch.look()
    assert [*seen, world.watch.is_up] == [False, True, False, False, False, True, False]
