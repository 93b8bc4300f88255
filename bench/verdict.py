"""Judge a system's output, which must contain every expected order exactly once with all its products."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bench.inputs import Expected


class Product(msgspec.Struct):
    """A line item (a product and its quantity) in an output record."""

    product_id: int
    quantity: int


class Output(msgspec.Struct):
    """The fields that the output records of all systems have in common."""

    products: list[Product]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The number of records in an output topic, and the number of faults of each kind.

    Attributes:
        outputs: number of all records.
        missing: number of expected orders without a record.
        duplicates: number of records after the first one of the same order.
        unexpected: number of records of orders that are not expected.
        wrong: number of records whose products differ from the expected ones.
    """

    outputs: int
    missing: int
    duplicates: int
    unexpected: int
    wrong: int


class Judge:
    """Judges the records of an output topic one by one, and counts the faults."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._seen: set[bytes] = set()
        self._outputs = self._duplicates = self._unexpected = self._wrong = 0
        self._decode = msgspec.json.Decoder(Output).decode

    def see(self, key: bytes | None, value: bytes | None) -> None:
        """Judge a record, and add the result to the counts."""
        self._outputs += 1
        lines = None if key is None else self._expected.get(key)
        if key is None or lines is None:
            self._unexpected += 1
            return
        self._duplicates += key in self._seen
        self._seen.add(key)
        self._wrong += self._lines_of(value) != lines

    def _lines_of(self, value: bytes | None) -> object:
        try:
            products = self._decode(value or b"").products
        except msgspec.DecodeError:
            return None
        return tuple(sorted((product.product_id, product.quantity) for product in products))

    def verdict(self) -> Verdict:
        """Return the counts over all records judged so far."""
        return Verdict(
            outputs=self._outputs,
            missing=len(self._expected) - len(self._seen),
            duplicates=self._duplicates,
            unexpected=self._unexpected,
            wrong=self._wrong,
        )
