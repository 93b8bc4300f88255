"""A shop without a database whose changes are written to Kafka, and kept for the oracle of the sinks."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

from confluent_kafka import Message

from stack.local import Stack
from streams.model.position import sequence_text
from streams.topics import change_topic
from tests.faults.sinks.oracle import Written
from tests.streams.orders.deployments import FedShop
from tests.support.background import in_background
from tests.support.builders import created, deleted, order_row, updated

IDS: Final = range(1, 61)
LATE_SHARE: Final = 0.1
DELETED_SHARE: Final = 0.2
PAUSE_S: Final = 0.01
TIME: Final = "2026-01-02T03:04:05Z"


class SinkShop(FedShop):
    """Customers for the warehouse, and orders for the live figures.

    Attributes:
        history: every record of a customer, in the order in which they were written.
        order_changes: what each record of an order did, and the order's minute.
    """

    def __init__(self, stack: Stack, folder: Path, seed: str) -> None:
        super().__init__(stack, folder)
        self.history: list[Written] = []
        self.order_changes: list[tuple[str, str]] = []
        self._draw = random.Random(seed)  # noqa: S311 - faults by chance, no secrets
        self._values: list[tuple[Written, bytes]] = []
        self._placed: list[dict[str, Any]] = []

    @contextmanager
    def live(self) -> Iterator[None]:
        """Change customers and orders during the block; some old changes of customers are delivered again."""

        def run(stop: Event) -> None:
            while not stop.wait(PAUSE_S):
                self.change_customer()
                self.change_order()

        with in_background(run, "shop"):
            yield

    def change_customer(self) -> None:
        """Write a new version of a customer, or deliver an old one again."""
        if self._values and self._draw.random() < LATE_SHARE:
            written, value = self._draw.choice(self._values)
            self._keep(written, value)
            return
        number, at, now_ms = self._draw.choice(IDS), self._next_position(), int(time.time() * 1000)
        is_deleted = self._draw.random() < DELETED_SHARE
        row = {"id": number, "name": "Ada", "email": f"{number}@example.org", "phone": None, "tier": f"tier {at[2]}"}
        row |= {"created_at": TIME, "updated_at": TIME}
        value = deleted(row, at, at_ms=now_ms) if is_deleted else updated(row, row, at, at_ms=now_ms)
        self._keep(Written(-1, -1, number, f"tier {at[2]}", is_deleted, sequence_text(at), now_ms), value)

    def _keep(self, written: Written, value: bytes) -> None:
        places: list[tuple[int, int]] = []
        self.write_raw("customers", str(written.id), value, delivered=lambda message: places.append(_place(message)))
        [(partition, place)] = places
        written = written._replace(partition=partition, place=place)
        self.history.append(written)
        self._values.append((written, value))

    def change_order(self) -> None:
        """Place an order, change one, or delete one."""
        draw = self._draw.random()
        if not self._placed or draw < 0.6:
            now = datetime.now(UTC).isoformat()
            self._placed.append(order_row(f"{self.dataset}-{len(self.order_changes)}", timestamp=now))
            self._write_order("created", self._placed[-1], created)
        elif draw < 0.8:
            row = self._draw.choice(self._placed)
            self._write_order("updated", row, lambda after, **at: updated(after, after, **at))
        else:
            row = self._placed.pop(self._draw.randrange(len(self._placed)))
            self._write_order("deleted", row, deleted)

    def _write_order(self, kind: str, row: dict[str, Any], op: Any) -> None:
        self.write("orders", row["id"], row, op=op)
        minute = datetime.fromisoformat(row["timestamp"]).strftime("%Y%m%d%H%M")
        self.order_changes.append((kind, minute))

    def customers_topic(self) -> str:
        """The topic of the customers."""
        return change_topic(self.dataset, "customers")


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
