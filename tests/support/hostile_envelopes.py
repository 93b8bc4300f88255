"""Envelopes of changes of `orders` that try to break a decoder, with the verdict that every decoder must give.

The key of a record is the id of its row, if there is one, else `KEY`. Values of other columns are not among them: their
types are the matter of the streams' decoder and folds, and of Silver in the lake.
"""

from __future__ import annotations

import json
from typing import Any, Final

from streams.model.change import LATEST_MS, UNAVAILABLE
from tests.support.builders import as_json, created, deleted, order_row, payload, wrap

KEY: Final = b"order-1"

CHANGE: Final = "change"
TOMBSTONE: Final = "tombstone"
MALFORMED: Final = "malformed"

ROW: Final = order_row(KEY.decode())


def _with(**fields: Any) -> bytes:
    return as_json(payload("c", after=ROW) | fields)


def _without(name: str) -> bytes:
    return as_json({field: value for field, value in payload("c", after=ROW).items() if field != name})


def _source(**fields: Any) -> bytes:
    wire = payload("c", after=ROW)
    return as_json(wire | {"source": wire["source"] | fields})


def _postgres(sequence: Any, op: str = "c") -> bytes:
    place = {"file": None, "pos": None, "row": None, "sequence": sequence, "lsn": None}
    wire = payload(op, after=ROW)
    return as_json(wire | {"source": wire["source"] | place})


def _raw_time(text: str) -> bytes:
    return _source(ts_ms="HERE").replace(b'"HERE"', text.encode())


ENVELOPES: Final[dict[str, tuple[bytes | None, str]]] = {
    "insert": (created(ROW), CHANGE),
    "insert with its schema": (created(ROW, wrapped=True), CHANGE),
    "delete": (deleted(ROW), CHANGE),
    "snapshot read": (as_json(payload("r", after=ROW)), CHANGE),
    "unknown fields": (_with(hyper={"new": [1, {"a": None}]}), CHANGE),
    "nothing": (None, TOMBSTONE),
    "wrapper around nothing": (as_json(wrap(None)), TOMBSTONE),
    # -- no JSON object
    "empty": (b"", MALFORMED),
    "spaces": (b" " * 1_000, MALFORMED),
    "not JSON": (b"<order/>", MALFORMED),
    "truncated": (created(ROW)[:-40], MALFORMED),
    "not UTF-8": (created(ROW).replace(KEY, b"\xff\xfe"), MALFORMED),
    "array": (b"[]", MALFORMED),
    "null as text": (b"null", MALFORMED),
    "number": (b"1", MALFORMED),
    "empty object": (b"{}", MALFORMED),
    # -- operation and rows
    "no op": (_without("op"), MALFORMED),
    "null op": (_with(op=None), MALFORMED),
    "unknown op": (_with(op="x"), MALFORMED),
    "truncate": (_with(op="t"), MALFORMED),
    "message": (_with(op="m"), MALFORMED),
    "hostile op": (_with(op="c';DROP TABLE orders;--\u202e\x1b[2J"), MALFORMED),
    "heartbeat": (as_json({"ts_ms": 1_767_323_045_000}), MALFORMED),
    "end of a transaction": (as_json({"status": "END", "id": "1", "event_count": 2}), MALFORMED),
    "op beside a payload": (as_json(wrap(payload("c", after=ROW)) | {"op": "c"}), MALFORMED),
    "no row": (_without("after"), MALFORMED),
    "null row": (_with(after=None), MALFORMED),
    "delete without its row": (as_json(payload("d", after=ROW)), MALFORMED),
    "text instead of a row": (_with(after="row"), MALFORMED),
    # -- position
    "no source": (_without("source"), MALFORMED),
    "null source": (_with(source=None), MALFORMED),
    "no file": (_source(file=None), MALFORMED),
    "file without a number": (_source(file="mysql-bin"), MALFORMED),
    "no pos": (_source(pos=None), MALFORMED),
    "negative pos": (_source(pos=-1), MALFORMED),
    "pos of 64 bits": (_source(pos=2**63), MALFORMED),
    "largest pos": (_source(pos=2**63 - 1), CHANGE),
    "no row number": (_source(row=None), CHANGE),
    "negative row number": (_source(row=-1), MALFORMED),
    "row number of 32 bits": (_source(row=2**31), MALFORMED),
    "row number of 64 bits": (_source(row=2**63), MALFORMED),
    "largest row number": (_source(row=2**31 - 1), CHANGE),
    # -- position in PostgreSQL's log
    "last commit and change": (_postgres('["42346440","42346648"]'), CHANGE),
    "no commit yet": (_postgres('[null,"42346648"]'), CHANGE),
    "read without a commit": (_postgres('[null,"42015440"]', op="r"), CHANGE),
    "read without any place": (_postgres("[null,null]", op="r"), CHANGE),
    "places as an array": (_postgres(["1", "2"]), CHANGE),
    "largest places": (_postgres(f'["{2**63 - 1}","{2**63 - 1}"]'), CHANGE),
    "commit of 64 bits": (_postgres(f'["{2**63}","1"]'), MALFORMED),
    "change of 64 bits": (_postgres(f'["1","{2**63}"]'), MALFORMED),
    "no place of the change": (_postgres('["42346440",null]'), MALFORMED),
    "change at place 0": (_postgres('["42346440","0"]'), MALFORMED),
    "one place": (_postgres('["42346440"]'), MALFORMED),
    "three places": (_postgres('["1","2","3"]'), MALFORMED),
    "places as numbers": (_postgres("[1,2]"), MALFORMED),
    "negative place": (_postgres('["1","-2"]'), MALFORMED),
    "place as a number": (_postgres(5), MALFORMED),
    "place with a line break": (_postgres('["1","2"]\n'), MALFORMED),
    "hostile place": (_postgres("'); DROP TABLE orders;--"), MALFORMED),
    # -- values that the database did not log
    "value that was not logged": (created(ROW | {"customer_id": UNAVAILABLE.decode()}), MALFORMED),
    "bytes that were not logged": (created(ROW | {"customer_id": UNAVAILABLE.hex()}), MALFORMED),
    # -- time
    "no time": (_source(ts_ms=None), CHANGE),
    "time 0": (_source(ts_ms=0), CHANGE),
    "end of the year 9999": (_source(ts_ms=LATEST_MS), CHANGE),
    "year 10000": (_source(ts_ms=LATEST_MS + 1), MALFORMED),
    "time that overflows in microseconds": (_source(ts_ms=9_223_372_036_854_776), MALFORMED),
    "time 9e18": (_source(ts_ms=9 * 10**18), MALFORMED),
    "time of 64 bits": (_source(ts_ms=2**63), MALFORMED),
    "time of 30 digits": (_raw_time("9" * 30), MALFORMED),
    "negative time": (_source(ts_ms=-1), MALFORMED),
    "time as text": (_source(ts_ms="yesterday"), MALFORMED),
    "time with a fraction": (_raw_time("1767323045000.5"), MALFORMED),
    # -- ids
    "id of 255 characters": (created(order_row("\u00fc" * 255)), CHANGE),
    "id of 256 characters": (created(order_row("\u00fc" * 256)), MALFORMED),
    "id of a megabyte": (created(order_row("k" * 1_000_000)), MALFORMED),
    "empty id": (created(order_row("")), MALFORMED),
    "null id": (_with(after=ROW | {"id": None}), MALFORMED),
    "no id": (_with(after={name: value for name, value in ROW.items() if name != "id"}), MALFORMED),
}


def key_of(value: bytes | None) -> bytes:
    """Return the key of the record with this value: the id in the row, or `KEY` if the row has none."""
    try:
        fields = json.loads(value or b"null")
        return str(fields["after"]["id"]).encode() if fields["after"]["id"] is not None else KEY
    except (ValueError, KeyError, TypeError):
        return KEY
