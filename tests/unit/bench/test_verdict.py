"""Goal: a system's outputs are judged by what is in them, not by their number.

Method: a judge and two expected orders.
"""

from __future__ import annotations

import pytest

from bench.verdict import Judge, Verdict

EXPECTED = {b"a": ((1, 2), (7, 1)), b"b": ((3, 3),)}
A = b'{"products":[{"product_id":7,"quantity":1},{"product_id":1,"quantity":2}],"other":1}'
B = b'{"products":[{"product_id":3,"quantity":3}]}'


def judged(*records: tuple[bytes | None, bytes | None]) -> Verdict:
    judge = Judge(EXPECTED)
    for key, value in records:
        judge.see(key, value)
    return judge.verdict()


def test_every_order_once_with_its_products_in_any_order_is_right() -> None:
    assert judged((b"b", B), (b"a", A)) == Verdict(outputs=2, missing=0, duplicates=0, unexpected=0, wrong=0)


def test_an_order_that_never_came_is_missing() -> None:
    assert judged((b"a", A)).missing == 1


def test_a_repeated_order_is_a_duplicate_and_makes_up_for_no_missing_one() -> None:
    verdict = judged((b"a", A), (b"a", A))
    assert (verdict.outputs, verdict.duplicates, verdict.missing) == (2, 1, 1)


@pytest.mark.parametrize("key", [b"c", None])
def test_an_order_that_nobody_waits_for_is_unexpected(key: bytes | None) -> None:
    verdict = judged((key, A))
    assert (verdict.unexpected, verdict.duplicates, verdict.missing) == (1, 0, 2)


@pytest.mark.parametrize("value", [B, None, b"{", b"{}", b'{"products":[{"product_id":1,"quantity":2}]}'])
def test_other_products_are_wrong(value: bytes | None) -> None:
    assert judged((b"a", value)).wrong == 1
