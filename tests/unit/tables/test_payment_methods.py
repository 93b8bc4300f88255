"""The look-up of payment methods takes in each record of the change topic by the rules of positions.

Method: records are applied by hand; nothing is read from Kafka.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from streams.model.published import PaymentMethod
from tables.payment_methods import PaymentMethods
from tests.support.builders import created, deleted, payment_method_row, position, snapshot_read, updated

VISA = payment_method_row(3, "Visa", "First Bank")
RENAMED = payment_method_row(3, "Visa Gold", "First Bank")


def with_methods(test: Callable[[PaymentMethods], None]) -> None:
    """Run `test` with a look-up, inside an event loop, which a service needs to be made."""

    async def run() -> None:
        test(PaymentMethods(topic="mysql.project_db.payment_method", client={}))

    asyncio.run(run())


def in_a_loop(test: Callable[[PaymentMethods], None]) -> Callable[[], None]:
    def run() -> None:
        with_methods(test)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@in_a_loop
def test_nothing_is_known_at_first(methods: PaymentMethods) -> None:
    assert methods.get(3) is None


@in_a_loop
def test_a_row_read_by_a_snapshot_or_inserted_is_known(methods: PaymentMethods) -> None:
    methods.apply(b"3", snapshot_read(VISA))
    methods.apply(b"4", created(payment_method_row(4, "Cash", None)))
    assert methods.get(3) == PaymentMethod(3, "Visa", "First Bank")
    assert methods.get(4) == PaymentMethod(4, "Cash", None)


@in_a_loop
def test_an_update_replaces_what_was_known(methods: PaymentMethods) -> None:
    methods.apply(b"3", created(VISA, position(10)))
    methods.apply(b"3", updated(VISA, RENAMED, position(20)))
    assert methods.get(3) == PaymentMethod(3, "Visa Gold", "First Bank")


@in_a_loop
def test_older_news_are_ignored(methods: PaymentMethods) -> None:
    methods.apply(b"3", updated(VISA, RENAMED, position(20)))
    methods.apply(b"3", created(VISA, position(10)))
    methods.apply(b"3", snapshot_read(VISA, position(20)))
    methods.apply(b"3", deleted(VISA, position(19)))
    assert methods.get(3) == PaymentMethod(3, "Visa Gold", "First Bank")


@in_a_loop
def test_a_duplicate_changes_nothing(methods: PaymentMethods) -> None:
    for _ in range(2):
        methods.apply(b"3", created(VISA, position(10)))
    assert methods.get(3) == PaymentMethod(3, "Visa", "First Bank")


@in_a_loop
def test_a_deleted_one_is_unknown_and_stays_so_until_it_is_newer(methods: PaymentMethods) -> None:
    methods.apply(b"3", created(VISA, position(10)))
    methods.apply(b"3", deleted(VISA, position(20)))
    methods.apply(b"3", created(VISA, position(10)))
    assert methods.get(3) is None
    methods.apply(b"3", created(RENAMED, position(30)))
    assert methods.get(3) == PaymentMethod(3, "Visa Gold", "First Bank")


@in_a_loop
def test_positions_are_judged_per_row(methods: PaymentMethods) -> None:
    methods.apply(b"3", created(VISA, position(50)))
    methods.apply(b"4", created(payment_method_row(4), position(10)))
    assert methods.get(4) is not None


@in_a_loop
def test_a_tombstone_is_no_news(methods: PaymentMethods) -> None:
    methods.apply(b"3", created(VISA, position(10)))
    methods.apply(b"3", None)
    assert methods.get(3) is not None
    assert methods.unreadable == 0


def test_an_unreadable_record_is_counted_logged_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    def check(methods: PaymentMethods) -> None:
        methods.apply(b"3", b"{not json")
        methods.apply(b'"3"', created(VISA))
        methods.apply(b"3", created(VISA))
        assert methods.unreadable == 2
        assert methods.get(3) is not None

    with caplog.at_level(logging.WARNING):
        with_methods(check)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "mysql.project_db.payment_method" in " ".join(caplog.messages)


def test_a_wait_for_what_is_known_or_of_no_time_ends_at_once() -> None:
    async def run() -> None:
        methods = PaymentMethods(topic="t", client={})
        methods.apply(b"3", created(VISA))
        async with asyncio.timeout(1):
            await methods.wait_for({3}, 60)
            await methods.wait_for({9}, 0)

    asyncio.run(run())


def test_a_wait_in_vain_ends_after_its_time() -> None:
    async def run() -> None:
        methods = PaymentMethods(topic="t", client={})
        async with asyncio.timeout(5):
            await methods.wait_for({3}, 0.02)
        assert methods.get(3) is None

    asyncio.run(run())
