"""Goal: each class of input that a worker is given on real servers is decided rightly by decoder and fold alone.

Method: the representatives of `tests/support/input_classes.py`. A few of them go through Kafka and a worker on every
run, all of them at night (`tests/streams/orders/test_bad_input.py`).
"""

from __future__ import annotations

from typing import Any

import pytest

from streams.model.change import Change, Malformed, change_decoder
from streams.model.fold import Rejected
from streams.model.order import OrderColumns, OrderDetailColumns, OrderState, as_utc, fold_order, fold_order_detail
from tests.support.hostile_envelopes import ENVELOPES, key_of
from tests.support.input_classes import DEAD, DEAD_LINES, READ

ID = "order-1"
decode_order = change_decoder(OrderColumns, key_of=lambda row: row.id)
decode_detail = change_decoder(OrderDetailColumns, key_of=lambda row: row.order_id)


def reason(answer: Malformed | Any, fold: Any) -> str:
    """Why the decoder or the fold refuses a record; the state stays as it was."""
    if isinstance(answer, Malformed):
        return answer.reason
    state = OrderState()
    with pytest.raises(Rejected) as rejected:
        fold(state, answer)
    assert state == OrderState()
    return str(rejected.value)


@pytest.mark.parametrize("name", DEAD)
def test_a_bad_order_row_is_refused_with_the_reason(name: str) -> None:
    value, word = DEAD[name]
    text = reason(decode_order(ID.encode(), value(ID)), fold_order)
    assert word in text
    assert text.isprintable()


@pytest.mark.parametrize("name", DEAD_LINES)
def test_a_bad_product_line_is_refused_with_the_reason(name: str) -> None:
    value, word = DEAD_LINES[name]
    assert word in reason(decode_detail(ID.encode(), value(ID)), fold_order_detail)


@pytest.mark.parametrize("name", READ)
def test_a_row_in_another_form_is_read_like_any_other(name: str) -> None:
    change = decode_order(ID.encode(), READ[name](ID))
    assert isinstance(change, Change)
    assert change.row.id == ID
    assert as_utc(change.row.timestamp).isoformat() == "2026-01-02T03:04:05.000006+00:00"


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_hostile_envelope_gets_the_verdict_that_the_lake_gives(name: str) -> None:
    value, verdict = ENVELOPES[name]
    answer = decode_order(key_of(value), value)
    assert type(answer).__name__.lower() == verdict, answer
