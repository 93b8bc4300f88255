"""Goal: every command takes intervals and times in one syntax, and a wrong one is named with the same examples.

Method: the two parsers are called, then the parsers of all commands that take an interval or a time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from batch.__main__ import main as batch_main
from config.parsing import absolute_time, interval, interval_or_zero, point_in_time, web_addresses
from ops import restarter
from ops.cli import main

EXAMPLES = "10s, 5m, 1h or 7d"
NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("60", 60), ("5m", 300), ("1h", 3_600), ("7d", 604_800), ("0.5s", 0.5)]
)
def test_an_interval_is_read_in_seconds(text: str, seconds: float) -> None:
    assert interval(text) == interval_or_zero(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "10 days", "2x", "inf", "nan", "1e3", "999999d", "\u0661s"])
def test_a_wrong_interval_is_named_with_examples(text: str) -> None:
    for parse in (interval, interval_or_zero):
        with pytest.raises(ValueError, match=EXAMPLES) as raised:
            parse(text)
        assert repr(text) in str(raised.value)


def test_an_interval_of_zero_is_read_only_where_it_makes_sense() -> None:
    assert interval_or_zero("0") == interval_or_zero("0s") == 0
    with pytest.raises(ValueError, match=EXAMPLES):
        interval("0s")


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("http://127.0.0.1:6070", ("http://127.0.0.1:6070",)),
        (" http://lookups:6066/ , http://[::1]:1", ("http://lookups:6066", "http://[::1]:1")),
    ],
)
def test_addresses_of_web_servers_are_read_one_by_one(text: str, addresses: tuple[str, ...]) -> None:
    assert web_addresses(text) == addresses


@pytest.mark.parametrize(
    "text",
    ["a:1", "https://a:1", "http://a", "http://a:x", "http://u:p@a:1", "http://a:1/x", "http://a:1,", "http://a:0", ""],
)
def test_an_address_that_is_none_of_a_web_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        web_addresses(text)


@pytest.mark.parametrize("parse", [absolute_time, point_in_time])
@pytest.mark.parametrize(
    "text", ["2025-01-31T12:00", "2025-01-31 12:00:00", "2025-01-31T12:00Z", "2025-01-31T14:00+02:00", "20250131T12"]
)
def test_a_time_is_utc_unless_it_says_otherwise(parse: type, text: str) -> None:
    assert parse(text) == NOON


def test_a_number_of_eight_digits_is_a_date() -> None:
    assert point_in_time("20250131") == datetime(2025, 1, 31, tzinfo=UTC)


def test_an_interval_counts_back_from_now() -> None:
    before = datetime.now(UTC)
    assert before <= point_in_time("2h") + timedelta(hours=2) <= datetime.now(UTC)
    assert point_in_time("1d") < point_in_time("2h") < point_in_time("30m") < point_in_time("10s")


@pytest.mark.parametrize("text", ["yesterday", "2x", "-1h", "60", "999999d", "2026-13-01", "0001-01-01T00:00+23:00"])
def test_a_wrong_time_is_named_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=EXAMPLES) as raised:
        point_in_time(text)
    assert repr(text) in str(raised.value)
    with pytest.raises(ValueError, match="ISO 8601"):
        absolute_time(text)


@pytest.mark.parametrize(
    "command",
    [
        "dataset check --timeout",
        "dataset simulate --seconds",
        "dead-letters list --since",
        "lake run --every",
        "lake run --since",
        "lake run --until",
        "lake backfill --table orders --since",
        "lake backfill --table orders --until",
        "lake maintain --keep",
        "lake maintain --tombstones",
        "lake maintain --archive",
    ],
)
def test_every_command_names_the_same_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "x"])
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert f"{command.split()[-1]}: invalid " in line
    assert "'x': use" in line
    assert EXAMPLES in line


@pytest.mark.parametrize(
    "run", [partial(batch_main, ["run", "--every", "x"]), partial(restarter.main, ["--first-delay=x"])]
)
def test_the_aliases_name_them_too(run: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert EXAMPLES in capsys.readouterr().err
