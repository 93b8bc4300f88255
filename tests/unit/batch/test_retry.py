"""Goal: work is tried three times while a server does not answer, and the error states what to do.

Method: work that fails a given number of times, and pauses that are only recorded.
"""

from __future__ import annotations

from collections.abc import Callable

import mysql.connector
import pytest

from batch.errors import BatchError, StorageError
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
        (mysql.connector.InterfaceError("gone"), "MYSQL_HOST"),
        (AWSClientIOException("refused"), "MINIO_ENDPOINT"),
    ],
)
def test_a_server_that_stays_away_is_named_after_three_tries(error: Exception, advice: str) -> None:
    work, tries = failing(9, error)
    with pytest.raises(BatchError, match=advice) as raised:
        attempt(work, [])
    assert len(tries) == 3
    assert (raised.value.layer, raised.value.table) == ("bronze", "orders")
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("text", "type_", "advice"),
    [
        ("Access denied for user 'x'@'y'", BatchError, "MYSQL_PASSWORD"),
        ("InvalidAccessKeyId", BatchError, "MINIO_ACCESS_KEY"),
        ("NoSuchBucket: bronze", BatchError, "BRONZE_ROOT"),
        ("AWSServiceIOException: (Service: S3, Status Code: 507): XMinioStorageFull", StorageError, "disk"),
    ],
)
def test_a_lasting_fault_is_not_tried_again(text: str, type_: type[BatchError], advice: str) -> None:
    work, tries = failing(9, RuntimeError(text))
    with pytest.raises(BatchError, match=advice) as raised:
        attempt(work, [])
    assert type(raised.value) is type_
    assert len(tries) == 1


def test_other_errors_are_left_as_they_are() -> None:
    for error in (ValueError("a mistake of ours"), BatchError("said already")):
        work, tries = failing(9, error)
        with pytest.raises(type(error), match=str(error)):
            attempt(work, [])
        assert len(tries) == 1
