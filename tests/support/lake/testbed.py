"""A testbed for the lake: change the shop's database, run `python -m batch`, and read the results."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from mysql.connector.connection import MySQLConnection

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.engines.base import Connection
from config.engines.mysql import MySQL
from config.settings import ObjectStoreSettings, environment_with
from ops.database import connected
from stack.local import Stack
from stack.servers.mariadb import socket_path
from streams.topics import topic_under
from tests.support.lake.archive_wait import ArchiveWait
from tests.support.lake.lake_queries import LakeQueries

REPOSITORY: Final = Path(__file__).resolve().parents[3]
_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR", "USER", "JAVA_HOME")

Statement = tuple[str, Sequence[Any]]


@dataclass(frozen=True)
class Answer:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class Shell:
    """A process that runs `tests/support/lake/shell.py`; the first request starts it."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @cached_property
    def _process(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.support.lake.shell"],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def ask(self, request: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
        """Send a request to the process, and return the response."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**request, "environment": environment}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process of the shell has ended: see {self._log}"
        found: dict[str, Any] = json.loads(line)
        assert "failed" not in found, found["failed"]
        return found

    def close(self) -> None:
        """End the process if it was started."""
        if "_process" not in vars(self):
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class LakeTestbed:
    """A shop and its lake; `shell` runs the commands (by default a new shell), and `more` overrides settings."""

    def __init__(self, stack: Stack, folder: Path, *, shell: Shell | None = None, **more: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.stack = stack
        self.folder = folder
        own = {
            "LOG_DIR": str(folder / "logs"),
            "SPARK_MASTER": "local[2]",
            "SPARK_DRIVER_MEMORY": "2g",
            "PYTHONUNBUFFERED": "1",
        }
        self.environment = environment_with({**stack.environment(), **own, **more}, only=_INHERITED)
        self.definition = load_definition("project_db")
        self._database = DatabaseSettings.read(self.environment)
        self._own = Shell(folder / "shell.log")
        self.shell = shell or self._own

    # -- the shop -----------------------------------------------------------------------------------------------------

    def change(self, *statements: Statement) -> None:
        """Run statements in one transaction."""
        with connected(self._database, self.definition.database) as connection:
            _execute(connection, statements)

    def change_unlogged(self, *statements: Statement) -> None:
        """Run statements that are not written to the binary log, so that the connector never sees them."""
        connection = MySQLConnection(
            unix_socket=str(socket_path(self.stack.site)), user=getpass.getuser(), database=self.definition.database
        )
        try:
            _execute(Connection(MySQL(), connection), [("SET SESSION sql_log_bin = 0", ()), *statements])
        finally:
            connection.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query on the source database; values other than whole numbers and NULL are returned as text."""
        with connected(self._database, self.definition.database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            found: list[Any] = cursor.fetchall()
        return [tuple(value if isinstance(value, int | None) else str(value) for value in row) for row in found]

    # -- the archive --------------------------------------------------------------------------------------------------

    def until_archived(self) -> None:
        """Wait until every change committed so far in the source is archived."""
        mark = uuid.uuid4().hex
        self.change(("REPLACE INTO payment_method VALUES (99, 'mark of a test', %s)", [mark]))
        self._archive.until_archived(mark)

    @cached_property
    def _archive(self) -> ArchiveWait:
        topics = [topic_under(self.definition.topic_prefix, table.name) for table in self.definition.tables]
        store = ObjectStoreSettings.read(self.environment)
        return ArchiveWait(self.environment["KAFKA_BOOTSTRAP"], store, topics)

    # -- the lake -----------------------------------------------------------------------------------------------------

    def batch(self, *arguments: str, code: int | None = 0) -> Answer:
        """Run a batch command in the shell; fail if its exit code is not `code` (None accepts any exit code)."""
        found = self._ask({"argv": arguments})
        answer = Answer(found["code"], found["out"], found["err"])
        assert code is None or answer.code == code, answer.text
        return answer

    def gold(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Run an SQLite query on the newest run's Gold and Silver; `values` replace its question marks.

        Times are returned as text.
        """
        for value in values:
            query = query.replace("?", repr(value), 1)
        [rows] = self.ask([query])
        return rows

    def ask(self, queries: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """Run several SQLite queries on the newest run's Gold and Silver, and return the rows of each."""
        return LakeQueries(self.environment).ask(queries)

    def asked_of_spark(self, query: str) -> list[tuple[Any, ...]]:
        """Run a Spark SQL query on the lake; values other than whole numbers and NULL are returned as text."""
        [rows] = self.gold_of([query])
        return rows

    def gold_of(self, queries: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """Run several Spark SQL queries on the lake in one request, and return the rows of each."""
        answer = self._ask({"queries": queries})
        return [[tuple(row) for row in rows] for rows in answer["rows"]]

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self.shell.ask(request, self.environment)

    def process(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start a batch command as a separate process whose output goes to a pipe; `more` overrides settings."""
        return subprocess.Popen(
            [sys.executable, "-m", "batch", *arguments],
            env=self.environment | more,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def manifests(self) -> list[str]:
        """Return the names of the runs that `history` lists."""
        return [line.split()[0] for line in self.batch("history", "--limit", "1000").out.splitlines()[1:]]

    def close(self) -> None:
        """Close the archive consumer and this testbed's shell."""
        if "_archive" in vars(self):
            self._archive.close()
        self._own.close()


def _execute(connection: Connection, statements: Sequence[Statement]) -> None:
    with connection.cursor() as cursor:
        for text, values in statements:
            cursor.execute(text, tuple(values))
    connection.commit()
