"""Goal: a PostgreSQL server or a login with which nothing can be captured is named with its remedy, which then helps;
and a disk that a slot has filled costs no change.

Method: servers of its own, as these tests change settings and accounts of the whole server, and stop it. On every push,
`tests/unit/ops/test_publication.py` and `test_connector_settings.py` check the findings with answers in memory, and
`test_postgres_source.py` a log that the server has deleted.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ops.cli import main
from stack.local import Stack
from stack.servers import postgres
from tests.support.disks import may_mount, small_disk
from tests.support.postgres_source import Source, made_source, wait_for
from tests.support.stacks import stack_with_postgres

pytestmark = pytest.mark.nightly
SERVERS = ("kafka", "connect", "postgres")
ROOM, MORE_ROOM = "128m", "512m"
MOST_MEGABYTES = 512
"""Beyond this, the disk cannot be as small as it should be."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Connect and a PostgreSQL whose settings these tests may change."""
    with stack_with_postgres(tmp_path_factory.mktemp("stack"), SERVERS) as found:
        yield found


@pytest.fixture
def source(stack: Stack, tmp_path: Path) -> Iterator[Source]:
    """A dataset with its database and topics, without rows and without a connector."""
    with made_source(stack, tmp_path) as source:
        yield source


def restart(source: Source) -> None:
    """Restart PostgreSQL."""
    source.stack.down(only=["postgres"])
    source.stack.up(only=["postgres"])


def test_a_server_that_logs_too_little_is_named_with_the_statement_that_helps(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.run("INSERT INTO customers VALUES (1, 'a')")
    with source.connect(superuser=True) as admin:
        admin.execute("ALTER SYSTEM SET wal_level = 'replica'")
    restart(source)
    assert main(["connector", "apply"]) == 1
    assert "run ALTER SYSTEM SET wal_level = 'logical', then restart the server" in capsys.readouterr().err
    with source.connect(superuser=True) as admin:
        admin.execute("ALTER SYSTEM SET wal_level = 'logical'")
    restart(source)
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    wait_for(lambda: source.by_position() == source.rows())


def test_a_wrong_password_of_the_connector_is_named_and_the_right_one_goes_on(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    password = source.stack.site.credentials.connector_password
    source.run("INSERT INTO customers VALUES (1, 'a')")
    with source.connect(superuser=True) as admin:
        admin.execute("ALTER ROLE connector PASSWORD 'other'")
        assert main(["connector", "apply"]) == 1
        assert "the login in CONNECTOR_PG_USER and CONNECTOR_PG_PASSWORD" in capsys.readouterr().err
        admin.execute(f"ALTER ROLE connector PASSWORD '{password}'")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    source.run("UPDATE customers SET email = 'b'")
    wait_for(lambda: source.by_position() == source.rows())


@contextmanager
def log_on_small_disk(stack: Stack) -> Iterator[Path]:
    """Have PostgreSQL's log on a small disk for the duration of the block; yields where it is mounted."""
    user = postgres._service_user()
    assert may_mount() and user is not None, "a small disk has to be mounted: run as root"  # noqa: PT018
    log = stack.site.service_folder("postgres", user) / "data" / "pg_wal"
    large = log.with_name("pg_wal-large")

    def own() -> None:
        for path in (log, *log.rglob("*")):
            shutil.chown(path, user, user)

    stack.down(only=["postgres"])
    log.rename(large)
    with small_disk(log, ROOM):
        shutil.copytree(large, log, dirs_exist_ok=True)
        own()
        stack.up(only=["postgres"])
        yield log
        stack.down(only=["postgres"])
        shutil.rmtree(large)
        shutil.copytree(log, large)
    log.rmdir()
    large.rename(log)
    own()
    stack.up(only=["postgres"])


def fill_log(source: Source) -> None:
    """Change rows, and write to the log what belongs to no table."""
    with source.connect() as connection:
        for number in range(MOST_MEGABYTES):
            connection.execute("INSERT INTO customers VALUES (%s, 'while the disk fills')", (100 + number,))
            connection.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000))")


def test_a_disk_that_a_slot_has_filled_stops_the_server_and_loses_no_change(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.run("INSERT INTO customers VALUES (1, 'a')")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    source.stop_connector()
    with log_on_small_disk(source.stack) as disk:
        with pytest.raises(psycopg.OperationalError):
            fill_log(source)
        capsys.readouterr()
        assert main(["connector", "status"]) == 1
        assert "the database server at " in capsys.readouterr().err
        subprocess.run(["mount", "-o", f"remount,size={MORE_ROOM}", str(disk)], check=True)
        source.stack.up(only=["postgres"])
        assert main(["connector", "apply"]) == 0
        wait_for(lambda: source.by_position() == source.rows())
        assert len(source.rows()) > 10, "the disk must fill while rows change, or this test shows nothing"
