"""Goal: exactly the rows in which two sides differ are found, and no more rows than needed are read.

Method: two dictionaries as the sides, which count the rows that are read from them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.reconcile import buckets as module
from batch.reconcile.buckets import Bucket, Pair, difference, key_text, key_values


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class FakeSide:
    """Rows by key; `moved` counts the rows that were handed out one by one."""

    def __init__(self, rows: dict[str, str]) -> None:
        self.content = {key: md5(value) for key, value in rows.items()}
        self.moved = 0

    def buckets(self, digits: int, within: Collection[str] | None = None) -> dict[str, Bucket]:
        found: dict[str, Bucket] = {}
        for key, digest in self.content.items():
            name = md5(key)[:digits]
            if within is None or any(name.startswith(each) for each in within):
                rows, total = found.get(name, Bucket(0, 0))
                found[name] = Bucket(rows + 1, total + int(digest[:13], 16))
        return found

    def rows(self, within: Collection[str]) -> dict[str, str]:
        found = {key: digest for key, digest in self.content.items() if md5(key).startswith(tuple(within))}
        self.moved += len(found)
        return found


def test_equal_sides_move_no_row() -> None:
    rows = {str(number): "x" for number in range(1_000)}
    source, lake = FakeSide(rows), FakeSide(rows)
    found = difference(source, lake)
    assert (found.source_rows, found.lake_rows, found.rows) == (1_000, 1_000, {})
    assert source.moved == lake.moved == 0


def test_a_row_that_is_missing_one_too_many_and_one_of_other_content_are_found() -> None:
    rows = {str(number): "x" for number in range(1_000)}
    lake = FakeSide({key: value for key, value in rows.items() if key != "7"} | {"8": "y", "more": "x"})
    found = difference(FakeSide(rows), lake).rows
    assert found == {"7": Pair(md5("x"), None), "8": Pair(md5("x"), md5("y")), "more": Pair(None, md5("x"))}


def test_two_values_that_are_exchanged_are_found() -> None:
    source, lake = FakeSide({"1": "a", "2": "b"}), FakeSide({"1": "b", "2": "a"})
    assert set(difference(source, lake).rows) == {"1", "2"}


def test_many_rows_are_looked_at_in_finer_buckets_before_any_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_READ_MAX", 10)
    rows = {str(number): "x" for number in range(5_000)}
    source, lake = FakeSide(rows), FakeSide(rows | {"17": "y"})
    assert set(difference(source, lake).rows) == {"17"}
    assert source.moved <= 5


def test_only_buckets_that_differ_in_quick_digests_are_computed_anew() -> None:
    rows = {str(number): "x" for number in range(1_000)}
    source, lake, quick = FakeSide(rows), FakeSide(rows | {"17": "y"}), FakeSide(rows | {"8": "old", "17": "y"})
    asked: list[Collection[str] | None] = []
    buckets = lake.buckets

    def counted(digits: int, within: Collection[str] | None = None) -> dict[str, Bucket]:
        asked.append(within)
        return buckets(digits, within)

    lake.buckets = counted  # type: ignore[method-assign]
    found = difference(source, lake, quick)
    assert (found.source_rows, found.lake_rows, set(found.rows)) == (1_000, 1_000, {"17"})
    assert asked == [{md5("8")[:2], md5("17")[:2]}]
    assert not difference(source, FakeSide(rows), quick).rows


@given(st.dictionaries(st.text("abc", max_size=3), st.sampled_from("xyz")), st.integers(0, 2**32))
def test_any_change_of_any_rows_is_found(rows: dict[str, str], seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a test, no secrets
    other = {key: draw.choice([value, "changed"]) for key, value in rows.items() if draw.random() < 0.8}
    changed = {key for key in rows.keys() | other.keys() if rows.get(key) != other.get(key)}
    assert set(difference(FakeSide(rows), FakeSide(other)).rows) == changed


@given(st.lists(st.none() | st.integers() | st.text()))
def test_a_key_is_read_back_from_its_text(values: list[object]) -> None:
    assert key_values(key_text(values)) == tuple(None if value is None else str(value) for value in values)
