"""The stand-in for a record value that a worker did not read."""

from __future__ import annotations

from typing import Self


class LeftOut(bytes):
    """Stand-in for the value of a record that a worker could not read, or that is too large to read.

    It is an empty value, so code that does not know this class takes the record for a malformed one, and never for a
    tombstone.

    Attributes:
        reason: the reason why the value was left out.
        size: size of the value in bytes, as text; for example `more than 67108864`.
    """

    reason: str
    size: str

    def __new__(cls, reason: str, size: str) -> Self:
        stand_in = super().__new__(cls)
        stand_in.reason = reason
        stand_in.size = size
        return stand_in
