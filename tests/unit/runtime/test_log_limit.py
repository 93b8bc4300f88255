"""Goal: an outage of any length logs a bounded number of lines, and says what was left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from streams.runtime.faust.log_limit import (
    LINES_PER_PERIOD,
    MOST_MESSAGES,
    PERIOD_S,
    RepetitionLimit,
    limit_repetitions,
)

SENDER = "aiokafka.producer.sender"


@pytest.fixture
def now() -> list[float]:
    """The time, which a test may change."""
    return [0.0]


@pytest.fixture
def limit(now: list[float]) -> RepetitionLimit:
    return RepetitionLimit(lambda: now[0])


def record(message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(SENDER, logging.WARNING, "", 0, message, values, None)


def passed(limit: RepetitionLimit, *records: logging.LogRecord) -> list[str]:
    return [each.getMessage() for each in records if limit.filter(each)]


def test_a_message_is_logged_a_few_times_per_period_whatever_its_values(limit: RepetitionLimit) -> None:
    lines = passed(limit, *(record("could not send to %s", node) for node in range(1_000)))
    assert lines == [f"could not send to {node}" for node in range(LINES_PER_PERIOD)]


def test_another_message_is_not_held_up(limit: RepetitionLimit) -> None:
    passed(limit, *(record("could not send to %s", node) for node in range(1_000)))
    assert passed(limit, record("no leader")) == ["no leader"]


def test_the_next_period_says_how_many_lines_were_left_out(limit: RepetitionLimit, now: list[float]) -> None:
    passed(limit, *(record("could not send to %s", node) for node in range(100)))
    now[0] = PERIOD_S
    left_out = 100 - LINES_PER_PERIOD
    lines = passed(limit, record("could not send to %s", 7), record("could not send to %s", 8))
    assert lines == [f"could not send to 7 ({left_out} more such lines in 60 s)", "could not send to 8"]


def test_messages_that_never_repeat_do_not_fill_the_memory(limit: RepetitionLimit) -> None:
    for number in range(3 * MOST_MESSAGES):
        assert limit.filter(record(f"message {number}"))
    assert len(limit._periods) <= MOST_MESSAGES + 1


@pytest.fixture
def clean() -> Iterator[None]:
    """Take the filters away again."""
    yield
    for name in logging.root.manager.loggerDict:
        logger = logging.getLogger(name)
        for each in [each for each in logger.filters if isinstance(each, RepetitionLimit)]:
            logger.removeFilter(each)


@pytest.mark.usefixtures("clean")
def test_every_logger_of_a_library_is_limited_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    loggers = [logging.getLogger(name) for name in (SENDER, "aiokafkaesque")]
    limit_repetitions("aiokafka")
    for _ in range(100):
        for logger in loggers:
            logger.warning("away")
    assert [each.name for each in caplog.records].count(SENDER) == LINES_PER_PERIOD
    assert [each.name for each in caplog.records].count("aiokafkaesque") == 100
