"""The servers as a person meets them: start, state, faults that are named, an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mysql.connector
import pytest
from minio import Minio

from config.dataset import load_definition
from config.settings import ConnectSettings, KafkaSettings
from ops.connector.apply import Outcome, apply_connector, wait_snapshot
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_settings
from ops.doctor.command import CHECKS, examine
from ops.doctor.finding import State, Subject
from ops.topics import apply_topics, check_topics
from stack.errors import CancelledWorkError, StackError
from stack.local import Stack
from stack.ports import HOST, free_ports
from stack.process import Process, ProcessState, as_user
from stack.record import load_record
from stack.servers import SERVERS
from stack.servers.mariadb import socket_path
from stack.servers.minio import BUCKETS
from stack.site import REPOSITORY
from streams.topics import catalogue
from tests.support.server_waiting import until
from tests.support.stacks import stack_with_postgres

LIVENESS_SECONDS = 60.0


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All servers, in a folder too deep for a unix socket."""
    folder = tmp_path_factory.mktemp("full") / ("deep" * 25)
    with stack_with_postgres(folder, list(SERVERS)) as stack:
        yield stack


@pytest.fixture
def redis_only(tmp_path: Path) -> Iterator[Stack]:
    """The quickest server, for tests of the life cycle."""
    stack = Stack.at(tmp_path / "stack", ports=free_ports(), servers=["redis"], die_with_parent=True)
    yield stack
    stack.down()


def process_of(stack: Stack, server: str) -> Process:
    record = load_record(stack.site.record(server))
    assert record is not None
    return record.process


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stack", *arguments]


def test_all_servers_come_up_healthy(full: Stack) -> None:
    assert {server.server: server.health for server in full.status()} == dict.fromkeys(SERVERS, "healthy")


def test_a_second_up_starts_nothing(full: Stack) -> None:
    before = {server.server: server.pid for server in full.status()}
    lines: list[str] = []
    full.up(lines.append)
    assert {server.server: server.pid for server in full.status()} == before
    assert len(lines) == len(SERVERS)
    assert all("was already running" in line for line in lines)


def test_the_buckets_of_the_lake_exist(full: Stack) -> None:
    environment = full.environment()
    client = Minio(
        environment["MINIO_ENDPOINT"].removeprefix("http://"),
        access_key=environment["MINIO_ACCESS_KEY"],
        secret_key=environment["MINIO_SECRET_KEY"],
        secure=False,
    )
    assert {bucket.name for bucket in client.list_buckets()} == set(BUCKETS)


def test_only_the_loopback_address_is_listened_on(full: Stack) -> None:
    address = _address_of_this_machine()
    if address is None:
        pytest.skip("this machine has the loopback address only")
    for port in full.site.ports.values():
        with pytest.raises(OSError), socket.create_connection((address, port), timeout=2):  # noqa: PT011
            pass


def test_no_password_is_in_a_log_or_in_an_argument(full: Stack) -> None:
    credentials = full.site.credentials
    secrets = [credentials.mysql_password, credentials.connector_password, credentials.redis_password]
    secrets.append(credentials.minio_secret_key)
    for server in SERVERS:
        arguments = Path(f"/proc/{process_of(full, server).pid}/cmdline").read_text()
        shown = arguments + full.site.log(server).read_text()
        assert not [secret for secret in secrets if secret in shown]


def test_a_killed_server_is_named_and_comes_back(full: Stack) -> None:
    full.kill("redis")
    assert [server.server for server in full.status() if not server.is_healthy] == ["redis"]
    assert next(server.state for server in full.status() if server.server == "redis") == "died"
    full.start("redis")
    assert all(server.is_healthy for server in full.status())


def test_postgres_comes_back_after_a_kill_although_another_process_has_its_number(full: Stack) -> None:
    command = SERVERS["postgres"].command(full.site)
    lock = Path(command.arguments[-1]) / "postmaster.pid"
    full.kill("postgres")
    _, _, rest = lock.read_text().partition("\n")
    as_its_user = [] if command.user is None else as_user(command.user)
    with subprocess.Popen([*as_its_user, "sleep", "60"], cwd="/") as other:
        until(lambda: Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n", "the other process runs")
        lock.write_text(f"{other.pid}\n{rest}")
        full.up()
        assert other.poll() is None
        other.kill()
    assert all(server.is_healthy for server in full.status())


def test_a_paused_server_is_named_and_goes_on(full: Stack) -> None:
    full.pause("redis")
    (redis,) = [server for server in full.status() if not server.is_healthy]
    assert (redis.server, redis.state) == ("redis", "paused")
    full.resume("redis")
    assert all(server.is_healthy for server in full.status())


def test_the_database_has_no_anonymous_account_and_root_only_by_socket(full: Stack) -> None:
    accounts = _as_root(full, "SELECT user, host FROM mysql.user").split()[2:]
    assert sorted(zip(accounts[::2], accounts[1::2], strict=True)) == [
        ("connector", HOST),
        ("mariadb.sys", "localhost"),
        ("millrace", HOST),
        ("root", "localhost"),
    ]


def test_the_owner_cannot_touch_other_databases(full: Stack) -> None:
    with _database(full) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS project_db")
        with pytest.raises(mysql.connector.Error, match="denied"):
            cursor.execute("CREATE DATABASE projectXdb")


def test_topics_are_created_once_and_then_checked(full: Stack) -> None:
    kafka = KafkaSettings.read(full.environment())
    specs = catalogue(dataset="topics_test", app_id="topics-test", order_partitions=4)
    assert "mysql.topics_test.orders" in apply_topics(kafka, specs)
    assert apply_topics(kafka, specs) == []
    other = catalogue(dataset="topics_test", app_id="topics-test", order_partitions=3)
    with pytest.raises(StackError, match=r"mysql\.topics_test\.orders: partitions expected 3, found 4"):
        check_topics(kafka, other)
    with pytest.raises(StackError, match=r"mysql\.topics_test\.orders: replicas expected 3, found 1"):
        check_topics(replace(kafka, replication_factor=3), specs)


def test_topics_of_a_broker_that_is_away_are_an_error_that_says_so() -> None:
    port = free_ports(["away"])["away"]
    with pytest.raises(StackError, match="Kafka"):
        check_topics(KafkaSettings.read({"KAFKA_BOOTSTRAP": f"{HOST}:{port}"}), [])


def test_a_connector_runs_and_shows_no_secret(full: Stack) -> None:
    _create_tables(full)
    settings = _connector_settings(full)
    with ConnectClient(full.environment()["CONNECT_URL"]) as connect:
        assert apply_connector(connect, "capture", settings) is Outcome.CREATED
        wait_snapshot(connect, "capture", limit_seconds=LIVENESS_SECONDS)
        assert apply_connector(connect, "capture", settings) is Outcome.UNCHANGED
        assert apply_connector(connect, "capture", {**settings, "poll.interval.ms": "20"}) is Outcome.UPDATED
        assert full.site.credentials.connector_password not in str(connect.config("capture"))
        assert connect.delete("capture")
        assert not connect.delete("capture")


def test_a_wrong_setting_is_named(full: Stack) -> None:
    settings = {**_connector_settings(full), "snapshot.mode": "sometimes"}
    with ConnectClient(full.environment()["CONNECT_URL"]) as connect:
        with pytest.raises(StackError, match=r"snapshot\.mode: .* value is invalid"):
            apply_connector(connect, "wrong", settings)
        assert connect.config("wrong") is None


def test_a_wrong_database_password_is_told_as_the_reason(full: Stack) -> None:
    _create_tables(full)
    account = f"'connector'@'{HOST}'"
    _as_root(full, f"ALTER USER {account} IDENTIFIED BY 'changed'")
    try:
        with (
            ConnectClient(full.environment()["CONNECT_URL"]) as connect,
            pytest.raises(StackError, match="Access denied for user 'connector'"),
        ):
            apply_connector(connect, "denied", _connector_settings(full))
    finally:
        _as_root(full, f"ALTER USER {account} IDENTIFIED BY '{full.site.credentials.connector_password}'")


def test_connect_that_is_away_is_an_error_after_three_tries() -> None:
    port = free_ports(["away"])["away"]
    with (
        ConnectClient(f"http://{HOST}:{port}") as connect,
        pytest.raises(StackError, match=f"{port}: no connection in 3 tries"),
    ):
        connect.status("any")


def test_a_port_in_use_is_named_with_its_owner_and_nothing_is_started(redis_only: Stack) -> None:
    port = redis_only.site.ports["redis"]
    with (
        contextlib.closing(socket.create_server((HOST, port))),
        pytest.raises(StackError, match=rf"port {port} for redis is in use by .* \(process {os.getpid()}\)"),
    ):
        redis_only.up()
    assert redis_only.status()[0].state == "stopped"


def test_a_server_that_dies_at_start_is_named_with_its_last_words(redis_only: Stack) -> None:
    (redis_only.site.folder / "data").mkdir(parents=True)
    data = redis_only.site.data("redis") / "appendonlydir"
    data.mkdir(parents=True)
    (data / "appendonly.aof.manifest").write_text("no manifest\n")
    with pytest.raises(StackError, match=r"(?s)redis: ended while starting.*AOF manifest"):
        redis_only.up()
    assert redis_only.status()[0].pid is None


def test_one_server_that_fails_ends_the_others_that_were_started(tmp_path: Path) -> None:
    stack = Stack.at(tmp_path / "stack", ports=free_ports(), servers=["redis", "mariadb"], die_with_parent=True)
    data = stack.site.data("mariadb")
    data.mkdir(parents=True)  # an empty data folder has no system tables
    with pytest.raises(StackError, match="mariadb: ended while starting"):
        stack.up()
    assert [server.pid for server in stack.status()] == [None, None]


def test_down_leaves_no_process_and_keeps_the_data(redis_only: Stack) -> None:
    redis_only.up()
    process = process_of(redis_only, "redis")
    redis_only.down()
    redis_only.down()
    assert process.state() is ProcessState.ENDED
    assert (redis_only.site.data("redis") / "appendonlydir").exists()


def test_a_paused_server_is_ended_too(redis_only: Stack) -> None:
    redis_only.up()
    redis_only.pause("redis")
    redis_only.down()
    assert redis_only.status()[0].state == "stopped"


def test_reset_deletes_the_folder_and_nothing_beside_it(redis_only: Stack) -> None:
    redis_only.up()
    beside = redis_only.site.folder.parent / "beside"
    beside.touch()
    redis_only.reset()
    assert not redis_only.site.folder.exists()
    assert beside.exists()


def test_a_start_that_is_cancelled_ends_what_it_started(redis_only: Stack) -> None:
    cancelled = threading.Event()
    with pytest.raises(CancelledWorkError):
        redis_only.up(lambda _: cancelled.set(), cancelled=cancelled)
    assert redis_only.status()[0].pid is None


def test_ports_of_a_running_server_are_not_moved(redis_only: Stack) -> None:
    redis_only.up()
    moved = Stack.at(redis_only.site.folder, ports=free_ports(["redis"]))
    with pytest.raises(StackError, match="redis runs on port"):
        moved.up()


def test_the_command_line_starts_shows_and_ends_a_stack() -> None:
    name = f"test-{os.getpid()}"
    try:
        up = _run("up", "--name", name, "--only", "redis", "--free-ports")
        assert up.returncode == 0, up.stderr
        assert "is up" in up.stdout
        assert _run("status", "--name", name).returncode == 0
        assert "REDIS_URL=" in _run("env", "--name", name, "--format", "dotenv").stdout
        assert "Ready to accept connections" in _run("logs", "redis", "--name", name).stdout
        assert _run("down", "--name", name).returncode == 0
        assert _run("status", "--name", name).returncode == 1
    finally:
        assert _run("reset", "--name", name).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_start_leaves_nothing_running(number: signal.Signals) -> None:
    name = f"test-signal-{os.getpid()}"
    arguments = command("up", "--name", name, "--only", "kafka,redis", "--free-ports")
    try:
        with subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as starting:
            assert starting.stdout is not None
            assert "redis" in starting.stdout.readline()  # redis runs, Kafka does not answer yet
            starting.send_signal(number)
            starting.communicate(timeout=LIVENESS_SECONDS)
        assert starting.returncode == 130
        status = _run("status", "--name", name)
        assert "running" not in status.stdout
    finally:
        _run("reset", "--name", name)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=LIVENESS_SECONDS, check=False
    )


@contextlib.contextmanager
def _database(stack: Stack) -> Iterator[mysql.connector.MySQLConnection]:
    environment = stack.environment()
    connection = mysql.connector.connect(
        host=HOST,
        port=int(environment["MYSQL_PORT"]),
        user=environment["MYSQL_USER"],
        password=environment["MYSQL_PASSWORD"],
        collation="utf8mb4_general_ci",
        use_pure=True,
    )
    assert isinstance(connection, mysql.connector.MySQLConnection)
    with contextlib.closing(connection):
        yield connection


def _create_tables(stack: Stack) -> None:
    schema = (REPOSITORY / "config" / "datasets" / "project_db" / "schema.sql").read_text()
    with _database(stack) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS project_db")
        cursor.execute("USE project_db")
        cursor.execute(schema)
        while cursor.nextset():
            pass
        cursor.execute("REPLACE INTO payment_method VALUES (1, 'card', 'bank')")
        connection.commit()
    kafka = KafkaSettings.read(stack.environment())
    apply_topics(kafka, catalogue(dataset="project_db", app_id="millrace-orders", order_partitions=4))


def _connector_settings(stack: Stack) -> dict[str, str]:
    return connector_settings(load_definition("project_db"), ConnectSettings.read(stack.environment()))


def _as_root(stack: Stack, statement: str) -> str:
    client = ["mariadb", "--no-defaults", "--protocol=socket", f"--socket={socket_path(stack.site)}", "-e", statement]
    return subprocess.run(client, capture_output=True, text=True, timeout=LIVENESS_SECONDS, check=True).stdout


def _address_of_this_machine() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation; a datagram socket sends nothing here
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


@pytest.mark.parametrize("dataset", ["project_db", "shop"])
def test_the_doctor_tells_what_works_and_how_to_set_up_the_rest(full: Stack, dataset: str) -> None:
    subject = Subject(definition=load_definition(dataset), environment=full.environment())
    found = dict(examine(subject, list(CHECKS), are_named=True))
    assert {name for name, finding in found.items() if finding.state is State.OK} >= {"redis", "minio", "spark"}
    assert "run `millrace dataset init`" in found["database"].text or found["database"].state is State.OK
    assert "`millrace topics" in found["kafka"].text or found["kafka"].state is State.OK
    assert "run `millrace connector apply`" in found["connect"].text
    assert "run `millrace warehouse apply`" in found["warehouse"].text or found["warehouse"].state is State.UNUSED
