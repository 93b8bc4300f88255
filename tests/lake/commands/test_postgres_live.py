"""Goal: while a shop on PostgreSQL lives, rows are backfilled, repaired and erased, and no change of that time is lost.

Method: the shipped dataset `shop` with a connector, an archive worker, and `millrace dataset simulate` beside the
commands; then the life ends, and the lake has to equal the source. On every push, `tests/lake/test_postgres.py` places
readings beside open transactions, `test_backfill.py` and `test_erase.py` do the same on other lakes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import Minio
from psycopg import sql

from config.database_settings import PostgresSettings
from config.dataset import load_definition
from config.settings import ArchiveSettings, ObjectStoreSettings, environment_with
from demo.archived import ArchiveCount, captured
from demo.workers import Worker
from ops.cli import main
from ops.connector.postgres import PostgresSource
from ops.connector.rest import ConnectClient
from ops.database import connected
from stack.ports import free_ports
from stack.site import REPOSITORY
from streams.topics import Direction, catalogue_of
from tests.lake.traces import traces
from tests.support.lake.testbed import Answer, Shell
from tests.support.server_waiting import until
from tests.support.stacks import stack_with_postgres

pytestmark = pytest.mark.nightly
SERVERS = ("kafka", "connect", "postgres", "redis", "minio")
EQUAL, DIFFERENT, BEHIND = 0, 1, 2
PERSON, NAME, EMAIL = 900_001, "Ada Byron", "byron@first.example"
UNSEEN = 900_002
SHOP = load_definition("shop")
TOPICS = [spec for spec in catalogue_of(SHOP, app_id="-", order_partitions=4) if spec.direction is Direction.IN]


class LiveShop:
    """The shop, its connector and its lake."""

    def __init__(self, environment: Mapping[str, str], shell: Shell) -> None:
        self.environment = environment
        self._shell = shell
        self._login = PostgresSettings.read(environment)

    def change(self, statement: str, *values: object, is_unlogged: bool = False) -> None:
        """Run a statement in a transaction of its own, which the connector does not see if it is unlogged."""
        publication = sql.Identifier("millrace_shop")
        with connected(self._login, SHOP.database, SHOP.schema) as connection, connection.cursor() as cursor:
            if is_unlogged:
                cursor.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE customers").format(publication))
            cursor.execute(statement, values)
            if is_unlogged:
                cursor.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE customers").format(publication))
            connection.commit()

    def batch(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Answer:
        """Run a command of the lake."""
        found = self._shell.ask({"argv": arguments}, self.environment)
        answer = Answer(found["code"], found["out"], found["err"])
        assert answer.code in codes, answer.text
        return answer

    def name_of(self, customer: int) -> str:
        """What the lake answers to the question for a customer's name."""
        return self.batch("sql", f"SELECT name FROM customers WHERE id = {customer}").out  # noqa: S608

    @contextmanager
    def living(self) -> Iterator[None]:
        """Let orders be placed, changed and deleted, and customers and products be changed, during the block."""
        life = [sys.executable, "-m", "ops.cli", "dataset", "simulate", "--rate", "20", "--seed", "5"]
        with subprocess.Popen(life, env=dict(self.environment), cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
            yield
            assert process.poll() is None, "the life has ended by itself"
            process.terminate()

    def until_archived(self) -> None:
        """Wait until every change committed so far is archived."""
        with ConnectClient(self.environment["CONNECT_URL"]) as connect:
            PostgresSource(SHOP, self.environment, connect).await_published(0)
        there = captured(self.environment["KAFKA_BOOTSTRAP"], TOPICS)
        count = ArchiveCount(ObjectStoreSettings.read(self.environment), ArchiveSettings.read(self.environment), TOPICS)
        until(lambda: count.records() >= there, "all changes are archived")

    def objects(self) -> dict[str, bytes]:
        """Every object of the lake."""
        settings = ObjectStoreSettings.read(self.environment)
        address = urlsplit(settings.endpoint).netloc
        store = Minio(address, access_key=settings.access_key, secret_key=settings.secret_key, secure=False)
        found = {}
        for bucket in ("bronze", "silver", "gold"):
            for each in store.list_objects(bucket, recursive=True):
                with store.get_object(bucket, str(each.object_name)) as answer:
                    found[f"{bucket}/{each.object_name}"] = answer.read()
        return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveShop]:
    """A loaded shop whose changes are archived, with a first run of the lake."""
    folder: Path = tmp_path_factory.mktemp("live")
    with stack_with_postgres(folder / "stack", SERVERS) as stack, pytest.MonkeyPatch.context() as patch:
        more = {
            "DATASET": "shop",
            "LOG_DIR": str(folder / "logs"),
            "SPARK_MASTER": "local[2]",
            "ARCHIVE_FLUSH_S": "0.5",
        }
        environment = environment_with({**stack.environment(), **more})
        for name, value in environment.items():
            patch.setenv(name, value)
        for command in (
            ("dataset", "init"),
            ("dataset", "generate", "--size", "0.01", "--customers", "200"),
            ("topics", "apply"),
            ("connector", "apply", "--wait-snapshot"),
        ):
            assert main(list(command)) == 0
        [port] = free_ports(["worker"]).values()
        archive = Worker(
            web_port=port, environment=stack.environment() | more, folder=folder, application="streams.archive"
        )
        shell = Shell(folder / "shell.log")
        archive.start()
        try:
            archive.wait_ready()
            found = LiveShop(environment, shell)
            found.until_archived()
            found.batch("run")
            yield found
        finally:
            shell.close()
            archive.stop()


def test_a_row_that_nobody_logged_is_backfilled_and_a_later_change_of_it_wins(shop: LiveShop) -> None:
    row = "INSERT INTO customers (id, name, email, country) VALUES (%s, 'unseen', 'a@b.example', 'DE')"
    with shop.living():
        shop.change(row, UNSEEN, is_unlogged=True)
        shop.batch("run")
        assert "unseen" not in shop.name_of(UNSEEN)
        shop.batch("backfill", "--table", "customers", "--key", str(UNSEEN))
        shop.change("UPDATE customers SET name = 'changed' WHERE id = %s", UNSEEN)
        shop.until_archived()
        shop.batch("run")
        assert "changed" in shop.name_of(UNSEEN)


def test_what_nobody_logged_is_repaired_while_other_rows_change(shop: LiveShop) -> None:
    with shop.living():
        shop.change("UPDATE customers SET email = 'quiet@b.example' WHERE id <= 20", is_unlogged=True)
        shop.change("DELETE FROM customers WHERE id = %s", UNSEEN, is_unlogged=True)
        shop.until_archived()
        shop.batch("run")
        shop.batch("reconcile", "--table", "customers", codes=(DIFFERENT,))
        shop.batch("reconcile", "--table", "customers", "--repair", codes=(EQUAL, BEHIND))
    shop.until_archived()
    shop.batch("run")
    shop.batch("reconcile", codes=(EQUAL,))


def test_a_person_is_erased_while_other_rows_change(shop: LiveShop) -> None:
    texts = (NAME, EMAIL)
    shop.change("INSERT INTO customers (id, name, email, country) VALUES (%s, %s, %s, 'GB')", PERSON, NAME, EMAIL)
    with shop.living():
        shop.until_archived()
        shop.batch("run")
        shop.change("DELETE FROM customers WHERE id = %s", PERSON)
        shop.until_archived()
        assert traces(shop.objects(), texts), "there is something to erase"
        shop.batch("erase", "--customer", str(PERSON), "--wait")
        assert traces(shop.objects(), texts) == {}
    shop.until_archived()
    shop.batch("run")
    shop.batch("reconcile", codes=(EQUAL,))
    assert "no data of this person found" in shop.batch("erase", "--customer", str(PERSON), "--wait").out
