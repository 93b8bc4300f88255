"""Goal: a table is read in parts while its rows change, and the topic ends with the rows of the table; a read survives
the death of Connect.

Method: a small dataset of its own on real servers of either kind, the commands that a person types, and a thread that
inserts, updates and deletes all the while. The rows that the topic tells of, folded by position, are compared with the
table.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec import Struct

from config.database_settings import PostgresSettings
from config.dataset import load_definition
from config.definition import Definition
from config.engines import engine_of
from config.engines.base import Connection
from config.settings import ConnectSettings
from ops.cli import main
from ops.connector.read_progress import ReadProgress, Servers
from ops.connector.rest import ConnectClient
from ops.database import connected
from ops.topic_reader import TopicReader
from stack.local import Stack
from stack.servers.postgres import SUPERUSER
from streams.adapters.redis import RedisConsole
from streams.model.change import Change, change_decoder
from streams.model.table_read import READS, READS_DATABASE
from streams.topics import topic_under
from tables.views.connector import READ, reads_of
from tests.streams.ops.test_foreign_dataset import Foreign
from tests.support.background import in_background

LIMIT_S = 120.0
CALM_S = 0.05
"""A pause between changes with which a slow connector does not fall behind, so that a signal reaches it at once."""

CHANGED_ROWS = 12_000
"""The rows with the lowest ids, which are updated and deleted."""

MANY_ROWS = 40_000
"""Rows that take longer to read than a slow machine needs to see that the first ones arrived, and to kill Connect."""

PART_ROWS = 64
SLOW = 'max.batch.size: "16", max.queue.size: "32"'
"""A transaction per batch: with few records in each, a read takes a minute."""

DEFINITION = f"""\
name: {{name}}
engine: {{engine}}
database: {{name}}
lake_prefix: {{name}}
connector: {{{{incremental.snapshot.chunk.size: "{PART_ROWS}", {SLOW}{{server_id}}}}}}
tables:
  - name: stores
    key: [id]
    columns:
      - {{{{name: id, type: integer}}}}
  - name: customers
    key: [id]
    snapshot: incremental
    columns:
      - {{{{name: id, type: integer}}}}
      - {{{{name: name, type: string}}}}
"""
SCHEMA = """\
CREATE TABLE stores (id integer PRIMARY KEY);
CREATE TABLE customers (id integer PRIMARY KEY, name varchar(100) NOT NULL);
"""
FULL = """\
ALTER TABLE stores REPLICA IDENTITY FULL;
ALTER TABLE customers REPLICA IDENTITY FULL;
"""


class Customer(Struct):
    """The columns of the table."""

    id: int
    name: str


@dataclass(frozen=True)
class Shop:
    """A dataset of its own on the shared servers."""

    stack: Stack
    definition: Definition

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection of the owner."""
        login = engine_of(self.definition).login(self.stack.environment())
        with connected(login, self.definition.database, self.definition.schema) as connection:
            yield connection

    def fill(self, rows: int) -> None:
        """Insert these customers."""
        values = ", ".join(f"({number}, 'first')" for number in range(1, rows + 1))
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO stores VALUES (1)")
            cursor.execute(f"INSERT INTO customers VALUES {values}")  # noqa: S608 - numbers
            connection.commit()

    def rows(self) -> dict[int, str]:
        """The table."""
        with self.connected() as connection:
            return dict(connection.rows("SELECT id, name FROM customers"))

    def changes(self) -> list[tuple[Change[Customer], bool]]:
        """The changes in the topic in the order of their arrival, and whether each was read."""
        decode = change_decoder(Customer, key_of=lambda row: str(row.id))
        found = []

        def keep(key: bytes | None, value: bytes | None) -> None:
            change = decode(key, value)
            assert isinstance(change, Change), change
            found.append((change, b'"op":"r"' in (value or b"")))

        topic = topic_under(self.definition.topic_prefix, "customers")
        with TopicReader(self.stack.environment()["KAFKA_BOOTSTRAP"], topic, "test") as reader:
            reader.visit_to_end(keep)
        return found

    def reads(self) -> int:
        """Number of records of rows that were read."""
        return sum(is_read for _, is_read in self.changes())

    def told(self) -> dict[int, str]:
        """The rows according to the topic."""
        newest: dict[int, Change[Customer]] = {}
        for change, _ in self.changes():
            known = newest.get(change.row.id)
            if known is None or change.position >= known.position:
                newest[change.row.id] = change
        return {key: change.row.name for key, change in newest.items() if not change.deleted}

    def servers(self) -> Servers:
        """What the progress of a read is counted from."""
        login = engine_of(self.definition).login(self.stack.environment())
        status = ConnectSettings.read(self.stack.environment()).status_topic
        return Servers(self.definition, login, self.stack.environment()["KAFKA_BOOTSTRAP"], status_topic=status)

    @contextmanager
    def progress(self) -> Iterator[ReadProgress]:
        """The progress of reads, as the watch has it."""
        with ConnectClient(self.stack.environment()["CONNECT_URL"]) as connect, self.redis() as redis:
            yield ReadProgress(self.definition, connect, self.servers(), redis, say=print)

    def redis(self) -> RedisConsole:
        """Where the watch writes for the page."""
        return RedisConsole(self.stack.environment()["REDIS_URL"], database=READS_DATABASE)

    @contextmanager
    def changing(self, pause_s: float = 0.002, rows: int = CHANGED_ROWS) -> Iterator[None]:
        """Insert, update and delete customers during the block, with a pause after each transaction.

        Args:
            rows: the rows with the lowest ids, which are updated and deleted.
        """
        with in_background(lambda stop: self._change(stop, pause_s, rows), "customers"):
            yield

    def _change(self, stop: threading.Event, pause_s: float, rows: int) -> None:
        draw, number = random.Random(7), MANY_ROWS  # noqa: S311 - a test
        with self.connected() as connection, connection.cursor() as cursor:
            while not stop.wait(pause_s):
                number += 1
                key = draw.randint(1, rows)
                for statement, values in draw.sample(
                    [
                        ("UPDATE customers SET name = %s WHERE id = %s", (f"changed {number}", key)),
                        ("DELETE FROM customers WHERE id = %s", (draw.randint(1, rows),)),
                        ("INSERT INTO customers VALUES (%s, 'new')", (number,)),
                    ],
                    2,
                ):
                    cursor.execute(statement, values)
                connection.commit()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.2)


def assert_equal(shop: Shop) -> None:
    """Wait until the topic ends with the table; otherwise, show the rows that differ."""
    with suppress(AssertionError):
        wait_for(lambda: shop.told() == shop.rows())
    told, rows = shop.told(), shop.rows()
    assert {key: (told.get(key), rows.get(key)) for key in told | rows if told.get(key) != rows.get(key)} == {}


@pytest.fixture
def make_shop(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int], Shop]]:
    """Makes a dataset with its database, its topics and some customers, without a connector."""

    def make(engine: str, rows: int) -> Shop:
        name = f"sig_{secrets.token_hex(4)}"
        folder = tmp_path / name
        folder.mkdir()
        server_id = ', database.server.id: "5417"' if engine == "mysql" else ""
        (folder / "definition.yaml").write_text(DEFINITION.format(name=name, engine=engine, server_id=server_id))
        (folder / "schema.sql").write_text(SCHEMA + (FULL if engine == "postgres" else ""))
        for key, value in {**stack.environment(), "DATASETS_DIR": str(tmp_path), "DATASET": name}.items():
            monkeypatch.setenv(key, value)
        if engine == "mysql":
            _grant(Foreign(stack), name)
        assert main(["dataset", "init"]) == 0
        assert main(["topics", "apply"]) == 0
        shop = Shop(stack, load_definition(name))
        shop.fill(rows)
        return shop

    yield make
    main(["connector", "delete"])


def _grant(server: Foreign, name: str) -> None:
    """Give both accounts the rights that they have on the databases of known datasets."""
    owner, connector = "'millrace'@'127.0.0.1'", "'connector'@'127.0.0.1'"
    server.run_as_root(
        f"GRANT ALL PRIVILEGES ON `{name}`.* TO {owner}; GRANT SELECT, LOCK TABLES ON `{name}`.* TO {connector}; "
        f"GRANT CREATE, INSERT, DELETE ON `{name}`.millrace_signal TO {connector}"
    )


def test_a_table_left_out_of_the_snapshot_is_read_while_it_changes_and_a_killed_read_goes_on_where_it_was(
    make_shop: Callable[[str, int], Shop], capsys: pytest.CaptureFixture[str]
) -> None:
    shop = make_shop("mysql", MANY_ROWS)
    assert main(["connector", "apply"]) == 0
    assert "customers: being read incrementally" in capsys.readouterr().out
    with shop.changing(), shop.progress() as progress:
        wait_for(lambda: shop.reads() > PART_ROWS)
        progress.look()
        [read] = progress.tables
        assert (read.table, read.is_under_way) == ("customers", True)
        assert read.rows > PART_ROWS
        assert read.estimated == pytest.approx(MANY_ROWS, rel=0.5), "the database's statistics"
        with shop.redis() as redis:
            on_the_page = reads_of(redis.call(READ, f"{READS}{shop.definition.name}".encode()))
        assert on_the_page["reads"] == [msgspec.to_builtins(read)]
        shop.stack.kill("connect")
        before = shop.reads()
        shop.stack.up(only=["connect"])
        assert before < MANY_ROWS - 4 * PART_ROWS, "the read must be killed in the middle, or this test shows nothing"
        assert main(["connector", "apply", "--wait-snapshot"]) == 0
        assert "customers: all rows are in the topic" in capsys.readouterr().out
    wait_for(lambda: shop.told() == shop.rows())
    assert shop.reads() <= MANY_ROWS + 2 * PART_ROWS, "a part may be read again, but not the table"
    assert main(["connector", "sweep", "--dry-run"]) == 0


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_rows_are_read_again_on_a_signal_while_they_change(
    engine: str, make_shop: Callable[[str, int], Shop], capsys: pytest.CaptureFixture[str]
) -> None:
    shop = make_shop(engine, 1_500)
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    before = shop.reads()
    assert before == 1_500
    with shop.changing():
        assert main(["connector", "signal", "--table", "customers", "--where", "id <= 1000", "--wait"]) == 0
    assert "customers: complete" in capsys.readouterr().out
    assert 0 < shop.reads() - before <= 1_000
    wait_for(lambda: shop.told() == shop.rows())
    servers = shop.servers()
    asked_ms = servers.signalled_ms()["customers"]
    assert 0 < servers.records_since("customers", asked_ms) < servers.records_since("customers", 0)
    assert servers.records_since("customers", asked_ms + 10**9) == 0
    assert servers.estimated_rows("customers") == len(shop.rows()), "a small table is counted"
    assert main(["connector", "signal", "--table", "customers", "--where", "no_column = 1"]) == 1
    assert "no_column" in capsys.readouterr().err
    assert main(["connector", "signal", "--table", "suppliers"]) == 1
    assert "suppliers" in capsys.readouterr().err


LONG_WINDOW = """\
CREATE FUNCTION wait_a_while() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN OLD; END $$;
CREATE TRIGGER long_window BEFORE DELETE ON millrace_signal FOR EACH ROW EXECUTE FUNCTION wait_a_while();
"""
"""The connector deletes its row once it has read a part: now changes come between the read and its end."""


@pytest.mark.nightly
def test_changes_of_rows_between_their_read_and_its_end_are_newer_than_the_read(
    make_shop: Callable[[str, int], Shop],
) -> None:
    rows = 6 * PART_ROWS
    shop = make_shop("postgres", rows)
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    with shop.connected() as connection, connection.cursor() as cursor:
        cursor.execute(LONG_WINDOW)
        connection.commit()
    with shop.changing(rows=rows):
        assert main(["connector", "signal", "--table", "customers", "--wait"]) == 0
    assert_equal(shop)
    reads = Counter(change.row.id for change, is_read in shop.changes() if is_read)
    assert any(reads[key] == 1 for key in shop.rows() if key <= rows), "no change came in between"


@pytest.mark.nightly
def test_a_row_that_is_read_before_its_change_is_visible_is_read_again(
    make_shop: Callable[[str, int], Shop], capsys: pytest.CaptureFixture[str]
) -> None:
    """A standby that does not answer keeps a committed change from everybody but the connector.

    On every push, `test_doubtful_reads` and `test_signal_command` do so without servers.
    """
    shop, last = make_shop("postgres", MANY_ROWS // 2), MANY_ROWS // 2 - 100
    with superuser(shop) as admin:
        admin.execute(f"ALTER DATABASE {shop.definition.database} SET synchronous_commit = local")
        assert main(["connector", "apply", "--wait-snapshot"]) == 0
        read = shop.reads()
        with in_background(lambda _: signal_and_wait(), "signal"):
            wait_for(lambda: shop.reads() > read)
            with in_background(lambda _: change_synchronously(shop, last), "change"), awaited_standby(admin):
                wait_for(lambda: shop.told()[last] == "newer")
                assert shop.rows()[last] == "first"
                wait_for(lambda: shop.told()[last] == "first")
    wait_for(lambda: shop.told() == shop.rows())
    assert shop.told()[last] == "newer"


def signal_and_wait() -> None:
    assert main(["connector", "signal", "--table", "customers", "--wait"]) == 0


def superuser(shop: Shop, *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """A connection of the superuser to the shop's database."""
    login = PostgresSettings.read(shop.stack.environment())
    return psycopg.connect(
        host=login.host,
        port=login.port,
        user=SUPERUSER,
        password=shop.stack.site.credentials.postgres_superuser_password,
        dbname=shop.definition.database,
        autocommit=autocommit,
    )


@contextmanager
def awaited_standby(admin: psycopg.Connection[Any]) -> Iterator[None]:
    """Let commits that ask for it wait for a standby that does not exist, until the end of the block."""
    admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    admin.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        admin.execute("SELECT pg_reload_conf()")


def change_synchronously(shop: Shop, customer: int) -> None:
    """Change a customer, and wait for the standby, if there is one."""
    with superuser(shop, autocommit=False) as connection:
        wait_for(lambda: connection.execute("SHOW synchronous_standby_names").fetchall() == [("nobody",)])
        connection.execute("SET synchronous_commit = on")
        connection.execute("UPDATE customers SET name = 'newer' WHERE id = %s", (customer,))


@pytest.mark.nightly
@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_a_read_is_stopped_in_its_middle_and_a_later_one_completes_it(
    engine: str, make_shop: Callable[[str, int], Shop], capsys: pytest.CaptureFixture[str]
) -> None:
    """On every push, `tests/unit/ops/test_signal_command.py` does so with a connector in memory."""
    shop = make_shop(engine, MANY_ROWS)
    with shop.changing(CALM_S):
        assert main(["connector", "apply"]) == 0
        wait_for(lambda: shop.reads() > PART_ROWS)
        assert main(["connector", "signal", "--table", "customers", "--stop"]) == 0
        read = shop.reads()
        assert "customers: its reads have ended; " in capsys.readouterr().out
        assert read < MANY_ROWS - 4 * PART_ROWS, "the read must be stopped in the middle, or this test shows nothing"
        before = len(shop.changes())
        wait_for(lambda: len(shop.changes()) > before + 20)
        assert shop.reads() == read, "the read goes on"
        assert main(["connector", "signal", "--table", "customers", "--wait"]) == 0
        print(f"{engine}: stopped after {read:,} of {MANY_ROWS:,} rows")
    assert_equal(shop)
