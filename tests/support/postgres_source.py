"""A small dataset on a real PostgreSQL, the changes that its topics tell of, and the database's own rows."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import psycopg
import pytest
from msgspec import Struct

from config.dataset import load_definition
from config.settings import PostgresSettings
from ops.cli import main
from ops.connector.rest import ConnectClient
from ops.topic_reader import TopicReader
from stack.local import Stack
from stack.servers.postgres import SUPERUSER
from streams.model.change import Change, change_decoder
from streams.topics import topic_under

LIMIT_S = 60.0
DEFINITION = """\
name: {name}
engine: postgres
database: {name}
lake_prefix: {name}
tables:
  - name: customers
    key: [id]
    columns:
      - {{name: id, type: bigint}}
      - {{name: email, type: string}}
"""
SCHEMA = """\
CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL);
ALTER TABLE customers REPLICA IDENTITY FULL;
"""


class Customer(Struct):
    """The columns of the table."""

    id: int
    email: str


@dataclass(frozen=True)
class Source:
    """A dataset of its own on the shared servers."""

    name: str
    stack: Stack

    @property
    def slot(self) -> str:
        """The slot of the first epoch."""
        return f"millrace_{self.name}"

    def connect(self, *, superuser: bool = False) -> psycopg.Connection[Any]:
        """A connection of the owner, or of the superuser; each statement is a transaction."""
        login = PostgresSettings.read(self.stack.environment())
        if superuser:
            password = self.stack.site.credentials.postgres_superuser_password
            login = dataclasses.replace(login, user=SUPERUSER, password=password)
        return psycopg.connect(
            host=login.host,
            port=login.port,
            user=login.user,
            password=login.password,
            dbname=self.name,
            autocommit=True,
        )

    def run(self, statement: LiteralString, *values: object) -> list[Any]:
        """Run a statement; its rows."""
        with self.connect() as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def has_slot(self) -> bool:
        """Whether the slot of the first epoch exists."""
        return bool(self.run("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", self.slot))

    def rows(self) -> dict[int, str]:
        """The table."""
        return dict(self.run("SELECT id, email FROM customers"))

    def changes(self) -> list[tuple[Change[Customer], dict[str, Any]]]:
        """The changes in the topic, and their source blocks, in the order of their arrival."""
        decode = change_decoder(Customer, key_of=lambda row: str(row.id))
        found = []

        def keep(key: bytes | None, value: bytes | None) -> None:
            change = decode(key, value)
            assert isinstance(change, Change), change
            found.append((change, msgspec.json.decode(value or b"")["source"]))

        topic = topic_under(load_definition(self.name).topic_prefix, "customers")
        with TopicReader(self.stack.environment()["KAFKA_BOOTSTRAP"], topic, "test") as reader:
            reader.visit_to_end(keep)
        return found

    def afters(self, table: str) -> list[tuple[str, dict[str, Any]]]:
        """The keys of a topic's records, and the rows after the changes."""
        found: list[tuple[str, dict[str, Any]]] = []
        topic = topic_under(load_definition(self.name).topic_prefix, table)
        with TopicReader(self.stack.environment()["KAFKA_BOOTSTRAP"], topic, "test") as reader:
            reader.visit_to_end(
                lambda key, value: found.append(((key or b"").decode(), msgspec.json.decode(value or b"")["after"]))
            )
        return found

    def folded(self, order: Callable[[Change[Customer], dict[str, Any]], Any]) -> dict[int, str]:
        """The rows according to the topic, if the change that is the greatest in `order` is the newest."""
        newest: dict[int, tuple[Any, Change[Customer]]] = {}
        for change, source in self.changes():
            place, known = order(change, source), newest.get(change.row.id)
            if known is None or place >= known[0]:
                newest[change.row.id] = (place, change)
        return {key: change.row.email for key, (_, change) in newest.items() if not change.deleted}

    def by_lsn(self) -> dict[int, str]:
        """The rows according to the topic, if the LSN of a change alone gave the order."""
        return self.folded(lambda _, block: int(block["lsn"] or 0))

    def by_position(self) -> dict[int, str]:
        """The rows according to the topic."""
        return self.folded(lambda change, _: change.position)

    def stop_connector(self) -> None:
        """Stop the connector's task, and wait until nobody reads the slot."""
        with ConnectClient(self.stack.environment()["CONNECT_URL"]) as connect:
            connect.stop(f"{self.name}-connector")
        wait_for(lambda: not self.run("SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = %s", self.slot))


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.2)


def waits_for(source: Source, holder: psycopg.Connection[Any]) -> bool:
    """Whether the making of the slot waits for this connection's transaction."""
    statement: LiteralString = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'transactionid' AND %s = ANY (pg_blocking_pids(pid))"
    )
    return bool(source.run(statement, holder.info.backend_pid))


@contextmanager
def made_source(stack: Stack, folder: Path) -> Iterator[Source]:
    """Make a dataset with its database and topics, without rows and without a connector."""
    name = f"pg_{secrets.token_hex(4)}"
    (folder / name).mkdir()
    (folder / name / "definition.yaml").write_text(DEFINITION.format(name=name))
    (folder / name / "schema.sql").write_text(SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**stack.environment(), "DATASETS_DIR": str(folder), "DATASET": name}.items():
            patch.setenv(key, value)
        assert main(["dataset", "init"]) == 0
        assert main(["topics", "apply"]) == 0
        yield Source(name, stack)
        main(["connector", "delete"])


def change_across_the_snapshot(source: Source) -> None:
    """Let a transaction be open while the snapshot reads a row that it changes, and wait until its change has arrived.

    PostgreSQL makes a slot once the transactions open at its begin have ended, then those open at that moment.
    """
    source.run("INSERT INTO customers VALUES (1, 'read'), (2, 'read')")
    outcome: list[int] = []
    apply = threading.Thread(target=lambda: outcome.append(main(["connector", "apply", "--wait-snapshot"])))
    with source.connect() as first, source.connect() as second, source.connect() as third:
        first.execute("BEGIN; UPDATE customers SET email = 'first' WHERE id = 2")
        apply.start()
        wait_for(source.has_slot)
        second.execute("BEGIN; INSERT INTO customers VALUES (3, 'second')")
        first.execute("ROLLBACK")
        wait_for(lambda: waits_for(source, second))
        third.execute("BEGIN; UPDATE customers SET email = 'open' WHERE id = 1")
        second.execute("COMMIT")
        apply.join(LIMIT_S)
        assert outcome == [0]
        third.execute("COMMIT")
    wait_for(lambda: any(change.row.email == "open" for change, _ in source.changes()))
