"""The names of the columns in a change, whatever their values: what a source has, beside what a definition says."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class _Rows(Struct, gc=False):
    before: dict[str, msgspec.Raw] | None = None
    after: dict[str, msgspec.Raw] | None = None


class _Wire(_Rows, gc=False):
    payload: _Rows | None = None


_decode = msgspec.json.Decoder(_Wire).decode


def column_names(value: bytes) -> frozenset[str]:
    """Return the names of the columns of the row in a change that was decoded already."""
    wire = _decode(value)
    rows: _Rows = wire if wire.payload is None else wire.payload
    return frozenset(rows.after or rows.before or ())
