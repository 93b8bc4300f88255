"""A small shop: two tables as plain dicts, and the change topics that Debezium would make of their history.

`Shop` is the source of truth of the property tests. It knows nothing of folds: what an order should look like in the
end is read from its tables (`verdict.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from streams.model.change import Change, ChangeDecoder, change_decoder
from streams.model.order import OrderColumns, OrderDetailColumns
from streams.model.position import Position
from tests.support import builders
from tests.support.builders import Row

ORDERS: Final = "orders"
DETAILS: Final = "order_details"
TOPICS: Final = (ORDERS, DETAILS)

FIRST_FILE: Final = 1_000
"""File number of the first server's log, so that each server after a fail-over begins with a lower one."""

_DECODERS: Final[dict[str, ChangeDecoder]] = {
    ORDERS: change_decoder(OrderColumns, key_of=lambda row: row.id),
    DETAILS: change_decoder(OrderDetailColumns, key_of=lambda row: row.order_id),
}


@dataclass
class Shop:
    """Database and connector.

    Attributes:
        orders: rows of `orders` by id.
        details: rows of `order_details` by order id and product id.
        topics: each topic's records, as decoded from their bytes.
        inserts_only: whether nothing but inserts was ever done.
        now_ms: the database's clock, milliseconds since 1970.
    """

    orders: dict[str, Row] = field(default_factory=dict)
    details: dict[tuple[str, int], Row] = field(default_factory=dict)
    topics: dict[str, list[Change[OrderColumns] | Change[OrderDetailColumns]]] = field(
        default_factory=lambda: {topic: [] for topic in TOPICS}
    )
    inserts_only: bool = True
    now_ms: int = builders.COMMITTED_MS
    _epoch: int = 0
    _file: int = FIRST_FILE
    _pos: int = 0

    # -- what happens in the database ---------------------------------------------------------------------------------

    def put_order(self, order_id: str, num_products: int, customer_id: int) -> None:
        """Insert an order, or update the one that is there."""
        row = builders.order_row(order_id, num_products=num_products, customer_id=customer_id)
        before = self.orders.get(order_id)
        self.orders[order_id] = row
        self._log_put(ORDERS, order_id, before, row, self._next_event())

    def put_lines(self, order_id: str, quantities: dict[int, int]) -> None:
        """Insert product lines with one statement, or update those that are there."""
        at = self._next_event()
        for number, (product_id, quantity) in enumerate(quantities.items()):
            row = builders.detail_row(order_id, product_id, quantity)
            before = self.details.get((order_id, product_id))
            self.details[order_id, product_id] = row
            self._log_put(DETAILS, order_id, before, row, (*at[:3], number))

    def drop_order(self, order_id: str) -> None:
        """Delete an order, if it is there; its lines stay, as without a foreign key."""
        if (row := self.orders.pop(order_id, None)) is not None:
            self._log_delete(ORDERS, order_id, row, self._next_event())

    def drop_line(self, order_id: str, product_id: int) -> None:
        """Delete a product line, if it is there."""
        if (row := self.details.pop((order_id, product_id), None)) is not None:
            self._log_delete(DETAILS, order_id, row, self._next_event())

    def move_order(self, old_id: str, new_id: str) -> None:
        """Change an order's id where that is possible: a delete and an insert at one place of the log."""
        if old_id in self.orders and new_id not in self.orders:
            before = self.orders.pop(old_id)
            self.orders[new_id] = before | {"id": new_id}
            at = self._next_event()
            self._log_delete(ORDERS, old_id, before, at)
            self._log_put(ORDERS, new_id, None, self.orders[new_id], at)

    def move_line(self, old: tuple[str, int], new: tuple[str, int]) -> None:
        """Change a line's order, product or both where that is possible, at one place of the log."""
        if old in self.details and new not in self.details:
            before = self.details.pop(old)
            self.details[new] = before | {"order_id": new[0], "product_id": new[1]}
            at = self._next_event()
            self._log_delete(DETAILS, old[0], before, at)
            self._log_put(DETAILS, new[0], None, self.details[new], at)

    def rotate(self) -> None:
        """Begin a new log file, where positions start again from a small number."""
        self._file += 1
        self._pos = 0

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now_ms += milliseconds

    # -- what happens in the connector --------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Read every row as it is at this point of the log."""
        at = self._next_event()
        for order_id, row in self.orders.items():
            self._log(ORDERS, order_id, builders.snapshot_read(row, at, at_ms=self.now_ms))
        for (order_id, _), row in self.details.items():
            self._log(DETAILS, order_id, builders.snapshot_read(row, at, at_ms=self.now_ms))

    def fail_over(self) -> None:
        """Go on with another server, which has the same rows but lower positions: in a new epoch, read them all."""
        self._epoch += 1
        self._file, self._pos = 1, 0
        self.snapshot()

    def repeat(self, topic: str, back: int, count: int) -> None:
        """Write old records once more, from `back` before the end.

        Up to the end when `count` reaches so far, as a connector does that lost its last offsets in a crash; less than
        that as one does that was thought dead and wakes up late, so that newer changes come before older ones.
        """
        records = self.topics[topic]
        begin = max(0, len(records) - back)
        records += records[begin : begin + count]

    # -- the log ------------------------------------------------------------------------------------------------------

    def _next_event(self) -> Position:
        self._pos += 10
        return builders.position(self._pos, file=self._file, epoch=self._epoch)

    def _log_put(self, topic: str, key: str, before: Row | None, after: Row, at: Position) -> None:
        if before is None:
            self._log(topic, key, builders.created(after, at, at_ms=self.now_ms))
        else:
            self.inserts_only = False
            self._log(topic, key, builders.updated(before, after, at, at_ms=self.now_ms, wrapped=True))

    def _log_delete(self, topic: str, key: str, row: Row, at: Position) -> None:
        self.inserts_only = False
        self._log(topic, key, builders.deleted(row, at, at_ms=self.now_ms))

    def _log(self, topic: str, key: str, envelope: bytes) -> None:
        change = _DECODERS[topic](key.encode(), envelope)
        assert isinstance(change, Change), change
        self.topics[topic].append(change)
