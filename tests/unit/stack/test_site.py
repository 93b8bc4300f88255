"""A stack's place: settings that programs can read, secrets that only the owner can, and nothing outside its folder."""

from __future__ import annotations

import json
import re
import shlex
import stat
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from config.database_settings import DatabaseSettings
from config.environment_file import format_settings
from config.settings import ConnectSettings, KafkaSettings, ObjectStoreSettings, RedisSettings
from config.settings_group import SettingsGroup
from ops.cli import main
from ops.dataset.foreign.text import capture_text
from stack.commands import format_status
from stack.errors import StackError
from stack.health import ServerStatus
from stack.local import Stack
from stack.ports import DEFAULT_PORTS, HOST
from stack.servers import SERVERS, servers_for
from stack.servers.connect import worker_settings
from stack.servers.jvm import properties
from stack.servers.kafka import broker_settings
from stack.servers.mariadb import accounts_sql, socket_path
from stack.servers.mariadb import server_settings as mariadb_settings
from stack.servers.postgres import accounts_sql as postgres_accounts_sql
from stack.servers.postgres import server_settings as postgres_settings
from stack.servers.redis import server_settings as redis_settings
from stack.site import Site, load_or_create_site

Groups = (KafkaSettings, DatabaseSettings, ConnectSettings, RedisSettings, ObjectStoreSettings)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack.at(tmp_path / "stack")


@pytest.mark.parametrize("group", Groups)
def test_the_environment_holds_all_that_the_settings_need(stack: Stack, group: type[SettingsGroup]) -> None:
    group.read(stack.environment())


def test_a_part_of_the_servers_gives_a_part_of_the_environment(tmp_path: Path) -> None:
    environment = Stack.at(tmp_path, servers=["connect"]).environment()
    assert set(environment) == {"KAFKA_BOOTSTRAP", "CONNECT_URL"}


def test_the_environment_is_quoted_for_a_shell() -> None:
    lines = format_settings({"B": "it's $HOME", "A": "plain"}, prefix="export ").splitlines()
    assert lines[0] == "export A=plain"
    assert shlex.split(lines[1]) == ["export", "B=it's $HOME"]


def test_the_environment_can_be_a_dotenv_file() -> None:
    assert format_settings({"A": "plain"}) == "A=plain\n"


def test_passwords_differ_between_stacks_and_stay_with_theirs(tmp_path: Path) -> None:
    one, other = (load_or_create_site(tmp_path / name, DEFAULT_PORTS).credentials for name in "ab")
    assert len({one.mysql_password, one.connector_password, one.redis_password, other.mysql_password}) == 4
    assert load_or_create_site(tmp_path / "a", DEFAULT_PORTS).credentials == one


def test_credentials_are_readable_by_their_owner_only_and_hidden_when_printed(stack: Stack) -> None:
    path = stack.site.folder / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stack.site.credentials.mysql_password not in repr(stack.site)


@pytest.mark.parametrize("server", SERVERS)
def test_no_secret_is_in_the_arguments_of_a_server(stack: Stack, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mariadb", "postgres"):
        monkeypatch.setattr(f"stack.servers.{module}.require_program", lambda name: f"/usr/sbin/{name}")
    secrets = asdict(stack.site.credentials).values()
    arguments = " ".join(SERVERS[server].command(stack.site).arguments)
    assert not [secret for secret in secrets if secret in arguments]


@pytest.mark.parametrize(
    "render",
    [
        lambda site: properties(broker_settings(site)),
        lambda site: properties(worker_settings(site)),
        mariadb_settings,
        postgres_settings,
        redis_settings,
    ],
)
def test_servers_listen_on_the_loopback_address_only(stack: Stack, render: Callable[[Site], str]) -> None:
    text = render(stack.site)
    assert "127.0.0.1" in text
    assert "0.0.0.0" not in text  # noqa: S104 - this is what must not be there


def test_connect_lets_connectors_read_their_login_and_nothing_else(stack: Stack) -> None:
    found = worker_settings(stack.site)
    assert found["config.providers.env.param.allowlist.pattern"] == "CONNECTOR_(DATABASE|PG|KAFKA)_.*"
    assert stack.site.credentials.connector_password not in properties(found)


def test_the_connector_account_may_only_read_and_write_the_table_of_signals(stack: Stack) -> None:
    grants = [line for line in accounts_sql(stack.site, ["project_db"]).splitlines() if "TO 'connector'" in line]
    signals = "GRANT CREATE, INSERT, DELETE ON `project_db`.millrace_signal TO 'connector'@'127.0.0.1';"
    assert grants.pop() == signals
    rights = {right.strip() for line in grants for right in line.removeprefix("GRANT ").partition(" ON ")[0].split(",")}
    assert rights == {
        "RELOAD",
        "SHOW DATABASES",
        "REPLICATION SLAVE",
        "BINLOG MONITOR",
        "SELECT",
        "LOCK TABLES",
    }


def test_a_draft_gives_the_connector_account_the_rights_that_it_has_here(stack: Stack) -> None:
    here = accounts_sql(stack.site, ["hire_shop"]).replace(f"'@'{HOST}'", "'@'%'")
    drafted = capture_text("hire_shop", [], schema=None).replace("REPLICATION CLIENT", "BINLOG MONITOR")
    grants = [
        {line for line in text.splitlines() if "GRANT" in line and "'connector'" in line} for text in (here, drafted)
    ]
    assert grants[0] == grants[1]


def test_rights_on_a_database_do_not_reach_one_with_a_similar_name(stack: Stack) -> None:
    assert r"ON `project\_db`.*" in accounts_sql(stack.site, ["project_db"])


def test_the_socket_path_is_short_even_for_a_deep_folder(tmp_path: Path) -> None:
    near, far = (load_or_create_site(tmp_path / name, DEFAULT_PORTS) for name in ("a", "b" * 120))
    assert all(len(bytes(socket_path(site))) <= 107 for site in (near, far))
    assert socket_path(near) != socket_path(far)


def test_ports_and_servers_of_a_stack_are_remembered(tmp_path: Path) -> None:
    assert Stack.existing(tmp_path) is None
    (tmp_path / "stack.json").write_text('{"ports": {"kafka": 7001}, "servers": ["kafka"]}')
    stack = Stack.existing(tmp_path)
    assert stack is not None
    assert (stack.site.ports["kafka"], stack.servers) == (7001, ("kafka",))
    assert Stack.at(tmp_path, servers=["redis"]).servers == ("kafka", "redis")


@pytest.mark.parametrize("name", ["stack.json", "credentials.json"])
def test_a_damaged_file_of_a_stack_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{")
    with pytest.raises(StackError, match=name):
        Stack.at(tmp_path)


def test_two_servers_on_one_port_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="kafka and redis"):
        Stack.at(tmp_path, ports={"kafka": 7000, "redis": 7000})


def test_an_unknown_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="oracle"):
        Stack.at(tmp_path, servers=["oracle"])


def test_a_stack_has_the_source_database_of_its_dataset_and_no_other(stack: Stack) -> None:
    assert set(servers_for("postgres")) ^ set(servers_for("mysql")) == {"mariadb", "postgres"}
    assert stack.servers == tuple(servers_for("mysql"))


def test_a_stack_of_a_former_release_keeps_its_passwords_and_gets_those_it_lacks(tmp_path: Path) -> None:
    credentials = load_or_create_site(tmp_path, DEFAULT_PORTS).credentials
    former = {name: value for name, value in asdict(credentials).items() if not name.startswith("postgres")}
    (tmp_path / "credentials.json").write_text(json.dumps(former))
    found = load_or_create_site(tmp_path, DEFAULT_PORTS).credentials
    assert {name: asdict(found)[name] for name in former} == former
    assert found.postgres_password != credentials.postgres_password
    assert load_or_create_site(tmp_path, DEFAULT_PORTS).credentials == found


def test_postgres_keeps_a_logical_log_that_cannot_fill_the_disk(stack: Stack) -> None:
    settings = postgres_settings(stack.site)
    assert "wal_level = logical" in settings
    assert "max_slot_wal_keep_size = '4GB'" in settings


def test_the_postgres_accounts_have_no_right_to_administer(stack: Stack) -> None:
    accounts = postgres_accounts_sql(stack.site)
    assert "SUPERUSER" not in accounts
    assert "ALTER ROLE connector REPLICATION;" in accounts
    assert not re.search(r"GRANT .* TO .*connector", accounts)


def test_the_data_of_a_server_of_another_user_is_where_this_user_can_reach_it(stack: Stack) -> None:
    assert stack.site.service_folder("postgres", None).is_relative_to(stack.site.folder)
    outside = stack.site.service_folder("postgres", "postgres")
    assert outside.parent == Path("/var/tmp")  # noqa: S108 - only compared
    assert not outside.exists()


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".", "-x", "a" * 41])
def test_a_name_that_is_no_name_of_a_folder_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["status", f"--name={name}"])
    assert "stack name" in capsys.readouterr().err


def test_a_command_on_a_stack_that_never_was_says_how_to_start_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--name", "never-started"]) == 2
    assert "millrace up --name never-started" in capsys.readouterr().err


def test_ending_a_stack_that_never_was_is_no_error() -> None:
    assert main(["down", "--name", "never-started"]) == 0
    assert main(["reset", "--name", "never-started"]) == 0


def test_the_status_table_has_one_line_per_server() -> None:
    died = ServerStatus(server="kafka", state="died", pid=None, port=1, uptime_seconds=None, health="see log")
    runs = ServerStatus(server="redis", state="running", pid=7, port=2, uptime_seconds=3723.9, health="healthy")
    lines = format_status([died, runs]).splitlines()
    assert [line.split()[0] for line in lines] == ["SERVER", "kafka", "redis"]
    assert "1:02:03" in lines[2]
    assert (died.is_healthy, runs.is_healthy) == (False, True)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '"x"', '{"servers": 1}', '{"servers": [["kafka"]]}', '{"ports": []}', '{"ports": {"kafka": "x"}}'],
)
def test_a_damaged_record_of_a_stack_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(text)
    with pytest.raises(StackError, match=r"stack\.json is damaged: delete it"):
        Stack.existing(tmp_path)


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "stack.json").mkdir()
    for folder in (tmp_path, tmp_path / "file"):
        with pytest.raises(StackError, match=r"stack\.json cannot be read: "):
            Stack.existing(folder)
