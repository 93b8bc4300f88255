"""Goal: MySQL and MariaDB are asked in the words that each of their releases understands.

Method: a connection that records statements and answers some with an error; no server.
"""

from __future__ import annotations

from typing import Any

import pytest
from mysql.connector import ProgrammingError, errorcode

from config.engines.mysql import MySQL


class Server:
    """A connection to a server that does not know some statements."""

    def __init__(self, *unknown: str, errno: int = errorcode.ER_PARSE_ERROR) -> None:
        self._unknown = unknown
        self._errno = errno

    def rows(self, statement: str) -> list[tuple[str, int]]:
        if statement in self._unknown:
            raise ProgrammingError(msg="refused", errno=self._errno)
        return [("binlog.000042", 1_234)]


def place(server: Any) -> tuple[int, int]:
    return MySQL().log_place(server)


@pytest.mark.parametrize("unknown", ["SHOW MASTER STATUS", "SHOW BINARY LOG STATUS"])
def test_the_place_in_the_log_is_found_on_servers_before_and_after_its_new_name(unknown: str) -> None:
    assert place(Server(unknown)) == (42, 1_234)


def test_a_missing_right_is_not_taken_for_another_release() -> None:
    with pytest.raises(ProgrammingError):
        place(Server("SHOW MASTER STATUS", errno=errorcode.ER_SPECIFIC_ACCESS_DENIED_ERROR))
