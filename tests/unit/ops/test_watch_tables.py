"""`ConnectorWatch`: tables are tended until all their rows are in the topics, also after a stop that nobody saw."""

from __future__ import annotations

from typing import cast

from ops.connector.pause import FIRST_PAUSE_S
from ops.connector.rest import ConnectClient
from ops.connector.watch import READER_S, ConnectorWatch
from stack.errors import StackError
from tests.unit.ops.watched_connector import NAME, STREAMING, Late, World


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


def test_the_database_is_not_asked_for_the_reader_at_every_look() -> None:
    world = World()
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
