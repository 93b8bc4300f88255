"""Goal: a setting that the brokers would refuse is refused at the start, with its name and the value to set.

Method: limits as brokers show them, and settings at, below and beyond them.
"""

from __future__ import annotations

import pytest

from config.settings import KafkaSettings, OrdersSettings
from streams.runtime.faust.broker_limits import (
    LONGEST_SESSION,
    LONGEST_TRANSACTION,
    SHORTEST_SESSION,
    Wanted,
    beyond,
)
from streams.worker import HEARTBEATS_PER_SESSION, transactional_app

LIMITS = {SHORTEST_SESSION: 6_000, LONGEST_SESSION: 30_000, LONGEST_TRANSACTION: 60_000}


def wanted(session_ms: int = 6_000, transaction_ms: int = 10_000) -> Wanted:
    return Wanted(session_timeout_ms=session_ms, transaction_timeout_ms=transaction_ms)


@pytest.mark.parametrize(("session_ms", "transaction_ms"), [(6_000, 1_000), (30_000, 60_000)])
def test_what_is_within_the_limits_is_accepted(session_ms: int, transaction_ms: int) -> None:
    assert beyond(wanted(session_ms, transaction_ms), LIMITS) == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (wanted(session_ms=5_999), ["SESSION_TIMEOUT_S: 5.999 s", "6 to 30", SHORTEST_SESSION]),
        (wanted(session_ms=30_001), ["SESSION_TIMEOUT_S: 30.001 s", "6 to 30", LONGEST_SESSION]),
        (wanted(transaction_ms=60_001), ["TRANSACTION_TIMEOUT_MS: 60001 ms", "at most 60000", LONGEST_TRANSACTION]),
    ],
)
def test_what_is_beyond_a_limit_is_named_with_the_value_to_set(asked: Wanted, words: list[str]) -> None:
    (fault,) = beyond(asked, LIMITS)
    for word in words:
        assert word in fault


def test_brokers_that_do_not_show_their_limits_refuse_nothing_here() -> None:
    assert beyond(wanted(90_000, 60_000), {}) == []


@pytest.mark.parametrize("session_s", ["6", "90"])
def test_the_longest_and_shortest_session_fit_into_all_other_times(session_s: str) -> None:
    settings = OrdersSettings.read({"SESSION_TIMEOUT_S": session_s})
    conf = transactional_app("bounds", KafkaSettings.read({"KAFKA_BOOTSTRAP": "127.0.0.1:1"}), settings).conf
    assert conf.broker_session_timeout == float(session_s)
    assert HEARTBEATS_PER_SESSION > 3
    assert conf.broker_heartbeat_interval < conf.broker_session_timeout / 3
    assert conf.broker_request_timeout > conf.broker_rebalance_timeout >= conf.broker_session_timeout
    assert conf.broker_max_poll_interval * 1000 < 2**31
