"""Goal: a floating-point number has the text that the database gives it.

Method: texts of MariaDB (`CAST(x AS CHAR)`), recorded; `tests/lake/test_canonical.py` holds both against each other.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.storage.canonical import double_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (100.5, "100.5"), (1 / 3, "0.3333333333333333"),
        (1e14, "100000000000000"), (1e15, "1e15"), (1.23e20, "1.23e20"), (1e300, "1e300"), (1e23, "1e23"),
        (999999999999999.9, "999999999999999.9"), (1626983080611305.8, "1626983080611305.8"),
        (123456789012345678.0, "1.2345678901234568e17"), (1.7976931348623157e308, "1.7976931348623157e308"),
        (1e-4, "0.0001"), (1.5e-7, "0.00000015"), (1e-15, "0.000000000000001"), (1e-16, "1e-16"),
        (1.234567890123456e-5, "0.00001234567890123456"), (5e-324, "5e-324"), (2e-3, "0.002"),
    ],
)  # fmt: skip
def test_a_number_is_written_as_the_database_writes_it(value: float, text: str) -> None:
    assert double_text(value) == text


def test_null_stays_null() -> None:
    assert double_text(None) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_identifies_the_number(value: float) -> None:
    assert float(str(double_text(value))) == value
