"""Goal: the changes of a PostgreSQL database arrive in its topics, in an order that ends with the database's rows; and
whatever would leave a gap is refused with its remedy.

Method: a small dataset on real servers, and the commands that a person types. The rows that the topics tell of, folded
by position, are compared with the tables.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import pytest
import requests
from confluent_kafka.admin import AdminClient
from psycopg import sql

from config.database_settings import PostgresSettings
from config.dataset import load_definition
from config.engines.postgres import HEARTBEAT_TABLE
from config.settings import KafkaSettings, environment_with
from ops.cli import main
from ops.connector.apply import is_running
from ops.connector.first_reads import FirstReads
from ops.connector.postgres import PostgresSource
from ops.connector.rest import ConnectClient
from stack.artifacts.system import require_program
from stack.errors import StackError
from stack.local import Stack
from streams.topics import topic_under
from tests.support.postgres_source import DEFINITION, LIMIT_S, Source, change_across_the_snapshot, made_source, wait_for


@pytest.fixture
def source(stack: Stack, tmp_path: Path) -> Iterator[Source]:
    """A dataset with its database and topics, without rows and without a connector."""
    with made_source(stack, tmp_path) as source:
        yield source


def test_the_topics_end_with_the_rows_of_the_database_and_the_slot_moves_on(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.run("INSERT INTO customers SELECT n, 'a' || n FROM generate_series(1, 500) AS n")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    source.run("SELECT pg_logical_emit_message(false, 'other', 'a message of another program, which has no topic')")
    source.run("UPDATE customers SET email = 'b' WHERE id = 1")
    source.run("DELETE FROM customers WHERE id = 2")
    source.run("UPDATE customers SET id = 1000 WHERE id = 3")
    with ConnectClient(source.stack.environment()["CONNECT_URL"]) as connect:
        PostgresSource(load_definition(source.name), source.stack.environment(), connect).await_published(0)
    assert source.by_position() == source.rows(), "what was published is known, not waited for"
    confirmed: LiteralString = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s"
    before = source.run(confirmed, source.slot)
    wait_for(lambda: source.run(confirmed, source.slot) > before)  # without any change of the dataset's tables
    capsys.readouterr()
    assert main(["connector", "status"]) == 0
    shown = capsys.readouterr().out
    assert "being read, log reserved" in shown
    assert "stands still" not in shown
    name, url = f"{source.name}-connector", source.stack.environment()["CONNECT_URL"]
    with ConnectClient(url) as connect:
        config = connect.config(name)
        assert connect.offsets(name)
        assert main(["connector", "delete"]) == 0
        assert not source.has_slot()
        again = {"name": name, "config": config, "initial_state": "STOPPED"}
        assert requests.post(f"{url}/connectors", json=again, timeout=LIMIT_S).ok
        wait_for(lambda: connect.status(name))
        assert connect.offsets(name) == [], "a connector of this name would go on behind a gap"


def test_a_change_of_a_transaction_that_was_open_across_the_snapshot_wins_over_the_row_that_was_read(
    source: Source,
) -> None:
    change_across_the_snapshot(source)
    assert source.by_position() == source.rows() == {1: "open", 2: "read", 3: "second"}
    assert source.by_lsn()[1] == "read", "the order by LSN alone must fail here, or this test shows nothing"


def test_a_row_that_vanished_unseen_is_swept_and_one_that_an_open_transaction_brings_back_is_not_lost(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.run("INSERT INTO customers VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    publication = sql.Identifier(source.slot)
    with source.connect() as connection, source.connect() as other:
        connection.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE customers").format(publication))
        connection.execute("DELETE FROM customers WHERE id < 3")
        connection.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE customers").format(publication))
        assert main(["connector", "sweep", "--dry-run"]) == 1
        assert "2 no longer in the source" in capsys.readouterr().out
        other.execute("BEGIN; INSERT INTO customers VALUES (2, 'open')")
        assert main(["connector", "sweep"]) == 0
        assert source.by_position() == source.rows() == {3: "c"}
        other.execute("COMMIT")
    wait_for(lambda: any(change.row.email == "open" for change, _ in source.changes()))
    assert source.by_position() == source.rows() == {2: "open", 3: "c"}
    capsys.readouterr()
    assert main(["connector", "sweep"]) == 0
    assert "2 rows in the topic, all in the source" in capsys.readouterr().out


def test_a_slot_beyond_what_was_published_is_refused_until_a_new_epoch_reads_all_again(
    source: Source, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StackError("time is up")

    source.run("INSERT INTO customers VALUES (1, 'a')")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    source.stop_connector()
    source.run("UPDATE customers SET email = 'skipped'")
    source.run("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", source.slot)
    assert main(["connector", "apply"]) == 1
    assert "millrace connector epoch begin" in capsys.readouterr().err
    assert source.by_position() == {1: "a"}
    with monkeypatch.context() as patch:
        patch.setattr(FirstReads, "begin", refuse)
        assert main(["connector", "epoch", "begin"]) == 1
    wait_for(lambda: source.by_position() == {1: "skipped"})
    assert not source.has_slot(), "the server would keep its log for it for ever"
    source.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", source.slot)  # as a failure may leave it
    assert main(["connector", "apply"]) == 0
    assert not source.has_slot()


def test_a_log_that_the_server_has_deleted_is_named_and_a_new_epoch_reads_all_again(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.run("INSERT INTO customers VALUES (1, 'a')")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    source.stop_connector()
    with source.connect(superuser=True) as admin:
        try:
            admin.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
            admin.execute("SELECT pg_reload_conf()")
            for number in range(5):
                source.run("UPDATE customers SET email = %s", f"lost {number}")
                admin.execute("SELECT pg_switch_wal()")
            lost: LiteralString = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND wal_status = 'lost'"
            wait_for(lambda: admin.execute("CHECKPOINT") and source.run(lost, source.slot))
        finally:
            admin.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            admin.execute("SELECT pg_reload_conf()")
    capsys.readouterr()
    assert main(["connector", "apply"]) == 1
    assert f"has deleted the log that {source.slot} needs" in capsys.readouterr().err
    assert main(["connector", "status"]) == 1
    assert f"has deleted the log that {source.slot} needs" in capsys.readouterr().out
    assert main(["connector", "epoch", "begin", "--wait-snapshot"]) == 0
    wait_for(lambda: source.by_position() == {1: "lost 4"})


def test_what_an_administrator_must_change_is_named_with_its_remedy(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.run("ALTER TABLE customers REPLICA IDENTITY DEFAULT")
    assert main(["connector", "apply"]) == 1
    assert "ALTER TABLE public.customers REPLICA IDENTITY FULL" in capsys.readouterr().err
    source.run("ALTER TABLE customers REPLICA IDENTITY FULL")
    assert main(["connector", "apply"]) == 0
    with source.connect() as connection:
        publication, heartbeat = sql.Identifier(source.slot), sql.Identifier(HEARTBEAT_TABLE)
        connection.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE customers, {}").format(publication, heartbeat))
    assert main(["connector", "apply"]) == 0
    with source.connect() as connection:
        connection.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE customers").format(publication))
    assert main(["connector", "status"]) == 1
    assert f"{source.slot} lacks customers, whose changes are lost: run `millrace connector apply`" in (
        capsys.readouterr().out
    )
    assert main(["connector", "apply"]) == 0
    published = source.run("SELECT tablename FROM pg_publication_tables WHERE pubname = %s", source.slot)
    assert {name for (name,) in published} == {"customers", "millrace_heartbeat", "millrace_signal"}


def test_rows_of_megabytes_and_numbers_of_100_000_digits_arrive(source: Source, tmp_path: Path) -> None:
    path = tmp_path / source.name / "definition.yaml"
    path.write_text(
        path.read_text()
        + "      - {name: number, type: decimal, precision: 38, scale: 0, nullable: true}\n"
        + "      - {name: document, type: string, nullable: true}\n"
    )
    source.run("ALTER TABLE customers ADD number numeric, ADD document jsonb")
    source.run("INSERT INTO customers VALUES (1, 'a')")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    source.run("INSERT INTO customers VALUES (2, repeat('ł', 2000000))")
    source.run("UPDATE customers SET id = 3 WHERE id = 2")
    wait_for(lambda: source.by_position() == source.rows())
    source.run("UPDATE customers SET number = trunc(10::numeric ^ 100000) WHERE id = 1")
    wait_for(
        lambda: ("1", "1" + 100_000 * "0") in [(key, row["number"]) for key, row in source.afters("customers") if row]
    )
    source.run("INSERT INTO customers VALUES (4, 'before', NULL, jsonb_build_object('a', repeat('x', 2000000)))")
    source.run("UPDATE customers SET email = 'after' WHERE id = 4")  # PostgreSQL does not write the document again
    wait_for(lambda: source.by_position().get(4) == "after")
    documents = [(row["email"], row["document"]) for key, row in source.afters("customers") if key == "4"]
    document = '{"a": "' + 2_000_000 * "x" + '"}'
    assert documents == [("before", document), ("after", document)]


@pytest.mark.nightly
def test_a_topic_that_is_gone_makes_a_running_connector_stand_still_which_its_status_shows(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    """On every push, `tests/unit/ops/test_postgres_status.py` does so without servers."""
    source.run("INSERT INTO customers VALUES (1, 'a')")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    environment = source.stack.environment()
    topic = topic_under(load_definition(source.name).topic_prefix, "customers")
    admin = AdminClient({"bootstrap.servers": environment["KAFKA_BOOTSTRAP"]})
    [deleted] = admin.delete_topics([topic]).values()
    deleted.result(LIMIT_S)
    source.run("UPDATE customers SET email = 'b'")
    wait_for(lambda: main(["connector", "status"]) == 1)
    with ConnectClient(environment["CONNECT_URL"]) as connect:
        assert is_running(connect.status(f"{source.name}-connector")), "Connect sees nothing"
    assert "the connector stands still" in capsys.readouterr().out


def test_a_slot_that_another_program_reads_is_named_with_its_process(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    source.stop_connector()
    login = PostgresSettings.read(source.stack.environment())
    reader = [require_program("pg_recvlogical"), "--start", "--file=/dev/null", f"--slot={source.slot}"]
    reader += [f"--host={login.host}", f"--port={login.port}", f"--username={login.user}", f"--dbname={source.name}"]
    reader += ["--option=proto_version=1", f"--option=publication_names={source.slot}"]
    with subprocess.Popen(
        reader, env=environment_with({"PGPASSWORD": login.password}), stderr=subprocess.PIPE
    ) as other:
        wait_for(lambda: source.run("SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = %s", source.slot))
        ((process,),) = source.run("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", source.slot)
        capsys.readouterr()
        assert main(["connector", "apply"]) == 1
        other.terminate()
    assert f"is being read by another program (process {process} of the database server)" in capsys.readouterr().err


def test_a_row_that_the_connector_lost_is_found_and_read_again(source: Source) -> None:
    """A transaction that takes the table out of the publication for itself is not seen by the connector."""
    definition, environment, said = load_definition(source.name), source.stack.environment(), list[str]()
    source.run("INSERT INTO customers VALUES (1, 'a'), (2, 'b')")
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    publication = sql.Identifier(source.slot)
    with source.connect() as connection, connection.transaction():
        connection.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE customers").format(publication))
        connection.execute("DELETE FROM customers WHERE id = 2")
        connection.execute("INSERT INTO customers VALUES (3, 'lost'), (4, 'lost')")
        connection.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE customers").format(publication))
    source.run("INSERT INTO customers VALUES (5, 'e')")
    with ConnectClient(environment["CONNECT_URL"]) as connect:
        source_of = PostgresSource(definition, environment, connect)
        reader = source_of.reader()
        assert reader is not None
        assert reader == source_of.reader()

        def reads() -> FirstReads:
            kafka, login = KafkaSettings.read(environment), PostgresSettings.read(environment)
            found = FirstReads(definition, login, kafka, connect)
            found.doubt()
            return found

        assert not reads().tend(said.append)
        assert "customers: 2 rows are not in the topic" in said[0]
        wait_for(lambda: source.by_position().keys() >= source.rows().keys())
        wait_for(lambda: reads().tend(said.append))
        source.stop_connector()
        assert source_of.reader() is None
        assert main(["connector", "apply"]) == 0
        assert source_of.reader() not in (None, reader)
    assert sum("not in the topic" in line for line in said) == 1
    assert main(["connector", "sweep"]) == 0
    assert source.by_position() == source.rows()


def test_a_wrong_password_of_the_owner_is_named(
    source: Source, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert main(["connector", "apply"]) == 1
    assert "PGUSER and PGPASSWORD" in capsys.readouterr().err


MIXED_CASE = """\
CREATE TABLE "Customers" ("Id" bigint PRIMARY KEY, "order" text);
ALTER TABLE "Customers" REPLICA IDENTITY FULL;
CREATE TABLE keyless (id bigint);
ALTER TABLE keyless REPLICA IDENTITY FULL;
"""


def test_names_that_must_be_quoted_are_captured_and_a_table_without_a_key_is_named(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source.run(MIXED_CASE)
    source.run("INSERT INTO \"Customers\" VALUES (1, 'a')")
    path = tmp_path / source.name / "definition.yaml"
    quoted = DEFINITION.replace("customers", "Customers").replace("id", "Id").replace("email", "order")
    keyless = "  - name: keyless\n    key: [id]\n    columns:\n      - {name: id, type: bigint}\n"
    path.write_text(quoted.format(name=source.name) + keyless)
    assert main(["topics", "apply"]) == 0
    assert main(["connector", "apply"]) == 1
    assert "table public.keyless has no primary key: add one" in capsys.readouterr().err
    path.write_text(quoted.format(name=source.name))
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    source.run('UPDATE "Customers" SET "order" = \'b\'')
    wait_for(lambda: [(key, after["order"]) for key, after in source.afters("Customers")] == [("1", "a"), ("1", "b")])
