"""A connector in memory, and a watch over it with everything around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from ops.connector.rest import ConnectClient
from ops.connector.sweep import SweptTable
from ops.connector.watch import ConnectorWatch, LateTables, Work
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
