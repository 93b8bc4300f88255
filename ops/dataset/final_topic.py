"""Read and decode the committed records of a topic of complete orders, such as `order_final`."""

from __future__ import annotations

from typing import Final

import msgspec

from ops.topic_reader import TopicReader

GROUP: Final = "millrace-check"


class Product(msgspec.Struct, frozen=True):
    """One product line of an order."""

    product_id: int
    quantity: int


class PaymentMethod(msgspec.Struct, frozen=True):
    """Payment method of an order; name and bank are None if the method is unknown."""

    id: int
    name: str | None
    bank: str | None


class Order(msgspec.Struct, kw_only=True):
    """A complete order; `ordered_at` is an ISO 8601 time in UTC, with microseconds and `Z`."""

    order_id: str
    customer_id: int
    store_id: int
    payment_method: PaymentMethod
    num_products: int
    products: list[Product]
    ordered_at: str


class FinalRecord(msgspec.Struct, frozen=True):
    """A record of a topic of complete orders: its key, the decoded order, and the fault if the record is invalid."""

    key: str
    order: Order | None = None
    fault: str | None = None


_decoder = msgspec.json.Decoder(Order)


def decode(key: bytes | None, value: bytes | None) -> FinalRecord:
    """Decode a record from its bytes; the key must be the order id as plain text."""
    name = (key or b"").decode("utf-8", "backslashreplace")
    if value is None:
        return FinalRecord(name, fault="has no value")
    try:
        order = _decoder.decode(value)
    except msgspec.DecodeError as error:
        return FinalRecord(name, fault=str(error))
    if order.order_id != name:
        return FinalRecord(name, order, f"its order_id is {order.order_id!r}")
    return FinalRecord(name, order)


def read_final(bootstrap: str, topic: str) -> list[FinalRecord]:
    """Read every committed record of the topic, from the beginning to the current end of every partition.

    Raises:
        StackError: Kafka can't be reached or the topic does not exist.
    """
    with FinalReader(bootstrap, topic) as reader:
        return reader.read_to_end()


class FinalReader(TopicReader):
    """A reader that decodes the records of a topic of complete orders."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(bootstrap, topic, GROUP)

    def read_to_end(self) -> list[FinalRecord]:
        """Return the records that arrived since the previous call, up to the current end of every partition."""
        records: list[FinalRecord] = []
        self.visit_to_end(lambda key, value: records.append(decode(key, value)))
        return records
