"""Goal: work is tried three times while a server is away, and every failure of a server names what to do.

Method: work that fails as told, and pauses that are only noted.
"""

from __future__ import annotations

from collections.abc import Callable

import mysql.connector
import pytest

from batch.errors import BatchError
from batch.storage.retry import PAUSES_S, with_tries


class AWSClientIOException(Exception):
    """What S3A raises when nobody answers."""


def failing(times: int, error: Exception) -> tuple[Callable[[], str], list[int]]:
    """Work that fails so many times; the list grows with each try."""
    tries: list[int] = []

    def work() -> str:
        tries.append(len(tries))
        if len(tries) <= times:
            raise error
        return "done"

    return work, tries


def attempt(work: Callable[[], str], pauses: list[float]) -> str:
    return with_tries(work, layer="bronze", table="orders", pause=pauses.append)


def test_work_that_succeeds_is_done_once() -> None:
    work, tries = failing(0, ValueError())
    pauses: list[float] = []
    assert attempt(work, pauses) == "done"
    assert (len(tries), pauses) == (1, [])


@pytest.mark.parametrize("error", [mysql.connector.InterfaceError("gone"), AWSClientIOException("refused")])
def test_a_server_that_comes_back_is_waited_for(error: Exception) -> None:
    work, tries = failing(2, error)
    pauses: list[float] = []
    assert attempt(work, pauses) == "done"
    assert (len(tries), tuple(pauses)) == (3, PAUSES_S)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (mysql.connector.InterfaceError("gone"), "bronze/orders: the database does not answer.*MYSQL_HOST"),
        (AWSClientIOException("refused"), "bronze/orders: the object storage does not answer.*MINIO_ENDPOINT"),
    ],
)
def test_a_server_that_stays_away_is_named_after_three_tries(error: Exception, advice: str) -> None:
    work, tries = failing(9, error)
    with pytest.raises(BatchError, match=advice) as raised:
        attempt(work, [])
    assert len(tries) == 3
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Access denied for user 'x'@'y'", "MYSQL_PASSWORD"),
        ("InvalidAccessKeyId", "MINIO_ACCESS_KEY"),
        ("NoSuchBucket: bronze", "no such bucket"),
        ("AWSServiceIOException: (Service: S3, Status Code: 507): XMinioStorageFull", "has no room left"),
    ],
)
def test_what_does_not_pass_is_not_tried_again(text: str, advice: str) -> None:
    work, tries = failing(9, RuntimeError(text))
    with pytest.raises(BatchError, match=advice):
        attempt(work, [])
    assert len(tries) == 1


def test_other_errors_are_left_as_they_are() -> None:
    for error in (ValueError("a mistake of ours"), BatchError("said already")):
        work, tries = failing(9, error)
        with pytest.raises(type(error), match=str(error)):
            attempt(work, [])
        assert len(tries) == 1
