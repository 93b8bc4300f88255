"""Testbed of the lake: change the shop's database, run lake commands, and read the results."""

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

from config.dataset import load_definition
from config.settings import DatabaseSettings, ObjectStoreSettings, environment_with
from ops.dataset.database import connected
from stack.local import Stack
from stack.servers.mariadb import socket_path
from streams.topics import change_topic
from tests.support.lake.archive_wait import ArchiveWait
from tests.support.lake.lake_queries import LakeQueries

REPOSITORY: Final = Path(__file__).resolve().parents[3]
_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR", "USER", "JAVA_HOME")

Statement = tuple[str, Sequence[Any]]


@dataclass(frozen=True)
class Answer:
    """Output of a command, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class Shell:
    """`tests/support/lake/shell.py` as a process, which is started by its first request."""

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
        """Send one request, return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**request, "environment": environment}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the shell has ended: see {self._log}"
        found: dict[str, Any] = json.loads(line)
        assert "failed" not in found, found["failed"]
        return found

    def close(self) -> None:
        """End it."""
        if "_process" not in vars(self):
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class LakeTestbed:
    """The shop and its lake; `shell` runs the commands (default: its own), `more` are settings of its own."""

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
            _execute(connection, [("SET SESSION sql_log_bin = 0", ()), *statements])
        finally:
            connection.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read rows of the source; values other than numbers as text."""
        with connected(self._database, self.definition.database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            found: list[Any] = cursor.fetchall()
        return [tuple(value if isinstance(value, int | None) else str(value) for value in row) for row in found]

    # -- the archive --------------------------------------------------------------------------------------------------

    def until_archived(self) -> None:
        """Wait until the archive holds every change that is committed now."""
        mark = uuid.uuid4().hex
        self.change(("REPLACE INTO payment_method VALUES (99, 'mark of a test', %s)", [mark]))
        self._archive.until_archived(mark)

    @cached_property
    def _archive(self) -> ArchiveWait:
        topics = [change_topic(self.definition.name, table.name) for table in self.definition.tables]
        store = ObjectStoreSettings.read(self.environment)
        return ArchiveWait(self.environment["KAFKA_BOOTSTRAP"], store, topics)

    # -- the lake -----------------------------------------------------------------------------------------------------

    def batch(self, *arguments: str, code: int | None = 0) -> Answer:
        """A command, in a process that goes on; `code` is what its exit code has to be."""
        found = self._ask({"argv": arguments})
        answer = Answer(found["code"], found["out"], found["err"])
        assert code is None or answer.code == code, answer.text
        return answer

    def gold(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Rows of a query of the newest run's Gold and Silver, with values for its question marks; times as text."""
        for value in values:
            query = query.replace("?", repr(value), 1)
        [rows] = self.ask([query])
        return rows

    def ask(self, queries: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """The rows of several queries in SQLite's SQL, of the same run."""
        return LakeQueries(self.environment).ask(queries)

    def asked_of_spark(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query in Spark's SQL; what is no number as text."""
        [rows] = self.gold_of([query])
        return rows

    def gold_of(self, queries: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """The rows of several queries in Spark's SQL, asked together."""
        answer = self._ask({"queries": queries})
        return [[tuple(row) for row in rows] for rows in answer["rows"]]

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self.shell.ask(request, self.environment)

    def process(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """A command in a process of its own, its output in a pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "batch", *arguments],
            env=self.environment | more,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def manifests(self) -> list[str]:
        """Names of the runs."""
        return [line.split()[0] for line in self.batch("history", "--limit", "1000").out.splitlines()[1:]]

    def close(self) -> None:
        """End what runs."""
        if "_archive" in vars(self):
            self._archive.close()
        self._own.close()


def _execute(connection: MySQLConnection, statements: Sequence[Statement]) -> None:
    with connection.cursor() as cursor:
        for text, values in statements:
            cursor.execute(text, tuple(values))
    connection.commit()
