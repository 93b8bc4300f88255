"""Goal: the dataset tools do on a real database and a real topic what their unit tests say.

Method: run the commands as a person would, on small sizes; the topic of complete orders is played by a transactional
producer, so that its faults are known.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.engines.base import Connection
from ops.cli import main
from ops.database import connected
from ops.dataset.final_topic import Order, read_final
from ops.dataset.oracle import expected_orders
from ops.dataset.shop import Details, NewOrder, place_order
from stack.local import Stack

DEFINITION = load_definition("project_db")
SMALL = ("--orders", "300", "--customers", "50")


@pytest.fixture(autouse=True)
def _settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def connection(_settings: None) -> Iterator[Connection]:
    """The empty tables of the dataset."""
    assert main(["dataset", "init", "--drop"]) == 0
    with connected(DatabaseSettings.read(), DEFINITION.database) as connection:
        yield connection


@pytest.fixture
def topic(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Topics of its own in the place of `order_final`, whose name it returns, and `order_amended`."""
    names = {topic: f"{topic.lower()}_{uuid.uuid4().hex}" for topic in ("ORDER_FINAL", "ORDER_AMENDED")}
    admin = AdminClient({"bootstrap.servers": stack.environment()["KAFKA_BOOTSTRAP"]})
    for created in admin.create_topics([NewTopic(name, 4, 1) for name in names.values()]).values():
        created.result(10)
    for topic, name in names.items():
        monkeypatch.setattr(f"ops.dataset.check.{topic}", name)
    yield names["ORDER_FINAL"]
    for deleted in admin.delete_topics([*names.values()]).values():
        deleted.result(10)


def count(connection: Connection, table: str) -> int:
    connection.rollback()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table}")  # noqa: S608
        found = cursor.fetchall()
    # An open reading would keep the table from being dropped.
    connection.rollback()
    return int(str(found[0][0]))


def emit(topic: str, orders: Sequence[Order], *, commit: bool = True) -> None:
    producer = Producer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
            "transactional.id": f"test-{uuid.uuid4()}",
            "log_level": 2,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for order in orders:
        producer.produce(topic, key=order.order_id, value=msgspec.json.encode(order))
    producer.flush()
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def test_init_can_be_repeated_and_keeps_rows_unless_told_to_drop(connection: Connection) -> None:
    assert main(["dataset", "generate", *SMALL]) == 0
    assert main(["dataset", "init"]) == 0
    assert count(connection, "orders") == 300
    assert main(["dataset", "init", "--drop"]) == 0
    connection.use(DEFINITION.database)
    assert count(connection, "orders") == 0


def test_init_names_a_table_that_is_not_the_definitions(
    connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE payment_method ADD COLUMN colour INT")
        assert main(["dataset", "init"]) == 0, "a table may have more columns than its definition"
        cursor.execute("ALTER TABLE payment_method DROP COLUMN bank")
    assert main(["dataset", "init"]) == 2
    assert "payment_method has the columns colour, id, name" in capsys.readouterr().err


def test_generated_data_is_all_in_the_database(connection: Connection) -> None:
    assert main(["dataset", "generate", *SMALL]) == 0
    counts = [count(connection, table) for table in ("payment_method", "customers", "orders", "order_details")]
    assert counts == [12, 50, 300, 565]
    assert len(expected_orders(connection, DEFINITION)) == 300


def test_generating_into_filled_tables_is_refused_or_adds(
    connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "generate", *SMALL]) == 0
    assert main(["dataset", "generate", *SMALL]) == 2
    assert "already hold rows" in capsys.readouterr().err
    assert main(["dataset", "generate", *SMALL, "--seed", "2", "--on-duplicate", "skip"]) == 0
    assert (count(connection, "orders"), count(connection, "customers")) == (600, 50)


def test_orders_that_lack_lines_are_not_expected(connection: Connection) -> None:
    assert main(["dataset", "generate", *SMALL, "--incomplete-share", "0.1"]) == 0
    assert len(expected_orders(connection, DEFINITION)) == 270


def test_a_file_with_bad_rows_loads_the_good_ones_and_exits_with_1(
    connection: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "methods.csv"
    path.write_text("bank,id,name\nŁódź \\ 'Bank',1,\"a,\nb\"\nB,x,C\nB,1,again\nB,2,\n")
    assert main(["dataset", "load", "payment_method", str(path)]) == 1
    printed = capsys.readouterr()
    assert "read 4, loaded 1, rejected 3" in printed.out
    assert f"{path}: line 4: id is not a whole number: 'x'" in printed.err
    assert f"{path}: line 5: duplicate key 1" in printed.err
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, name, bank FROM payment_method")
        assert cursor.fetchall() == [(1, "a,\nb", "Łódź \\ 'Bank'")]


@pytest.mark.parametrize(("mode", "code", "name"), [("fail", 1, "old"), ("skip", 0, "old"), ("replace", 0, "new")])
def test_a_key_that_exists_fails_is_skipped_or_is_replaced(
    connection: Connection, tmp_path: Path, mode: str, code: int, name: str
) -> None:
    path = tmp_path / "methods.csv"
    path.write_text("id,name,bank\n1,old,B\n")
    assert main(["dataset", "load", "payment_method", str(path)]) == 0
    path.write_text("id,name,bank\n1,new,B\n2,other,B\n")
    assert main(["dataset", "load", "payment_method", str(path), "--on-duplicate", mode]) == code
    connection.rollback()
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM payment_method ORDER BY id")
        assert cursor.fetchall() == [(name,), ("other",)]


def test_what_only_the_database_knows_is_reported_by_line(
    connection: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE payment_method ADD CONSTRAINT no_barter CHECK (name <> 'Barter')")
    path = tmp_path / "methods.csv"
    path.write_text("id,name,bank\n1,Card,B\n2,Barter,B\n3,Cash,B\n")
    assert main(["dataset", "load", "payment_method", str(path)]) == 1
    assert f"{path}: line 3: " in capsys.readouterr().err
    assert count(connection, "payment_method") == 2


def test_uuids_that_differ_in_case_are_two_orders(connection: Connection, tmp_path: Path) -> None:
    order_id = str(uuid.uuid4())
    path = tmp_path / "lines.csv"
    path.write_text(f"order_id,product_id,quantity\n{order_id.lower()},1,1\n{order_id.upper()},1,1\n")
    assert main(["dataset", "load", "order_details", str(path)]) == 0
    assert count(connection, "order_details") == 2


@pytest.mark.parametrize("details", list(Details))
def test_a_simulation_leaves_only_complete_orders_and_its_seed_can_run_again(
    connection: Connection, details: Details
) -> None:
    for _ in range(2):
        assert main(["dataset", "simulate", "--count", "200", "--seed", "5", "--details", details.value]) == 0
    assert count(connection, "orders") == len(expected_orders(connection, DEFINITION)) > 100


def test_ctrl_c_ends_a_simulation_with_its_summary(connection: Connection) -> None:
    command = [sys.executable, "-m", "stack", "dataset", "simulate", "--rate", "50", "--details", "later"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while count(connection, "orders") < 10 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert [line.partition(":")[0] for line in err.splitlines()] == ["using the servers in the environment"]
    assert out.splitlines()[-1].startswith("inserted ")
    assert count(connection, "orders") == len(expected_orders(connection, DEFINITION))


def test_a_simulation_goes_on_when_its_connection_is_cut(connection: Connection) -> None:
    command = [sys.executable, "-m", "stack", "dataset", "simulate", "--rate", "50", "--count", "150"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while count(connection, "orders") < 10 and time.monotonic() < deadline:
            time.sleep(0.1)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = DATABASE()"
            )
            for (number,) in cursor.fetchall():
                cursor.execute(f"KILL {int(str(number))}")
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.splitlines()[-1].startswith("inserted ")
    assert count(connection, "orders") == len(expected_orders(connection, DEFINITION)) > 50


@pytest.mark.parametrize("details", [Details.SAME, Details.LATER])
def test_a_placed_order_is_complete_at_the_time_it_names(connection: Connection, details: Details) -> None:
    order = NewOrder(
        order_id=str(uuid.uuid4()),
        customer_id=1,
        store_id=1,
        payment_method_id=1,
        lines=[(1, 2), (3, 4)],
        ordered_at=datetime(2025, 3, 1, 12, 0, 0, 5, tzinfo=UTC),
    )
    before_ns = time.time_ns()
    placed = place_order(connection, order, details=details)
    assert before_ns < placed.committed_at_ns <= time.time_ns()
    found = expected_orders(connection, DEFINITION)[placed.order_id]
    assert found.ordered_at == "2025-03-01T12:00:00.000005Z"
    assert {line.product_id: line.quantity for line in found.products} == {1: 2, 3: 4}


def test_counts_and_quantities_below_1_complete_nothing(connection: Connection) -> None:
    with connection.cursor() as cursor:
        for number, (wanted, quantity) in enumerate([(0, 1), (-1, 1), (1, 0), (1, 1)]):
            order_id = str(uuid.UUID(int=number))
            cursor.execute("INSERT INTO orders VALUES (%s, 1, 1, 1, %s, '2025-01-01')", (order_id, wanted))
            cursor.execute("INSERT INTO order_details VALUES (%s, 1, %s)", (order_id, quantity))
    connection.commit()
    assert list(expected_orders(connection, DEFINITION)) == [str(uuid.UUID(int=3))]


def test_the_check_passes_only_when_every_order_is_there_once(
    connection: Connection, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "generate", *SMALL]) == 0
    orders = list(expected_orders(connection, DEFINITION).values())
    emit(topic, orders[:50], commit=False)
    emit(topic, orders[1:])
    assert main(["dataset", "check", "--strict"]) == 1
    emit(topic, orders[:1])
    assert main(["dataset", "check", "--strict", "--timeout", "20"]) == 0
    emit(topic, orders[:1])
    capsys.readouterr()
    assert main(["dataset", "check", "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert (figures["missing"], figures["duplicates"], figures["records"]) == (0, 1, 301)


def test_an_aborted_transaction_leaves_no_record_to_read(connection: Connection, topic: str) -> None:
    assert main(["dataset", "generate", *SMALL]) == 0
    emit(topic, list(expected_orders(connection, DEFINITION).values()), commit=False)
    assert read_final(os.environ["KAFKA_BOOTSTRAP"], topic) == []


def test_a_server_that_is_away_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MYSQL_PORT", "1")
    assert main(["dataset", "init"]) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_a_wrong_login_is_named_without_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MYSQL_PASSWORD", "wrong-one")
    assert main(["dataset", "init"]) == 2
    message = capsys.readouterr().err
    assert "MYSQL_PASSWORD" in message
    assert "wrong-one" not in message
