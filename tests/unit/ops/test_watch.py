"""`ConnectorWatch`: failed tasks start again, each snapshot is followed by a sweep, and an outage is said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, cast

import pytest

from ops.connector.pause import FIRST_PAUSE_S, LONGEST_PAUSE_S
from ops.connector.rest import ConnectClient
from ops.connector.sweep import SweptTable
from ops.connector.watch import CLOSE_S, ConnectorWatch
from stack.errors import StackError
from tests.unit.ops.watched_connector import NAME, STREAMING, Done, World


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


def test_a_watch_says_whether_the_connector_was_running_at_its_last_look(world: World) -> None:
    seen = [world.watch.is_up]
    for task in ("RUNNING", "FAILED", "UNASSIGNED", None, "RUNNING"):
        world.connect.task = task
        world.watch.look()
        seen.append(world.watch.is_up)
    world.connect.error = StackError("Connect does not answer")
    world.watch.look()
    assert [*seen, world.watch.is_up] == [False, True, False, False, False, True, False]
