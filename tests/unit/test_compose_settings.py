"""Goal: containers and local servers are the same system: settings, commands, accounts, topics and buckets agree.

Method: what `stack` generates for a made-up site is compared with the model in `docker-compose.yml`; addresses, folders
and logins are left out, for they differ by nature.
"""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from pathlib import Path

import pytest

from config.database_settings import DatabaseSettings, PostgresSettings, WarehouseDatabaseSettings
from config.dataset import known_datasets
from config.settings import (
    ArchiveSettings,
    ConnectSettings,
    DatasetSettings,
    KafkaSettings,
    LakeSettings,
    LookupsSettings,
    MetricsSettings,
    ObjectStoreSettings,
    OrdersSettings,
    RedisSettings,
    WarehouseSettings,
)
from config.settings_group import SettingsError, SettingsGroup
from ops import cli, producer
from stack.ports import DEFAULT_PORTS, HOST
from stack.servers import kafka, mariadb, postgres, redis
from stack.servers.connect import worker_settings
from stack.servers.minio import BUCKETS
from stack.site import Site, load_or_create_site
from tests.unit.compose import (
    LAKE,
    OTHERS,
    REPOSITORY,
    SERVICES,
    SOURCES,
    WATCHES,
    WORKERS,
    environment,
    setting_fields,
    variables,
)

# Settings of the image that the entrypoint takes under names of its own.
CONNECT_NAMES = {
    "bootstrap.servers": "BOOTSTRAP_SERVERS",
    "group.id": "GROUP_ID",
    "config.storage.topic": "CONFIG_STORAGE_TOPIC",
    "offset.storage.topic": "OFFSET_STORAGE_TOPIC",
    "status.storage.topic": "STATUS_STORAGE_TOPIC",
    "key.converter": "KEY_CONVERTER",
    "value.converter": "VALUE_CONVERTER",
}
SETTINGS: dict[str, type[SettingsGroup]] = {
    "streams.orders": OrdersSettings,
    "streams.lookups": LookupsSettings,
    "streams.archive": ArchiveSettings,
    "streams.metrics": MetricsSettings,
    "streams.warehouse": WarehouseSettings,
}
LOGINS: dict[str, type[SettingsGroup]] = {"mysql": DatabaseSettings, "postgres": PostgresSettings}
ARCHIVES = ("archive", *(f"archive-{name}" for name in OTHERS))
ENV_LINE = "--- Only for docker-compose.yml"


def application(worker: str) -> str:
    """The application that a worker runs."""
    return str(SERVICES[worker]["command"][2])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return load_or_create_site(tmp_path / "site", DEFAULT_PORTS)


def test_kafka_has_the_local_brokers_settings(site: Site) -> None:
    expected = kafka.broker_settings(site)
    for place in ("controller.quorum.voters", "listeners", "advertised.listeners", "log.dirs"):
        del expected[place]
    told = environment("kafka")
    assert {name: told.get(_variable("KAFKA_", name)) for name in expected} == expected


def test_no_transaction_of_a_stranger_holds_up_the_readers_for_longer_than_ours_could(site: Site) -> None:
    longest_ms = int(kafka.broker_settings(site)["transaction.max.timeout.ms"])
    assert longest_ms == 90_000, "Connect's fencing asks for its REST limit, 90 s, and answers 500 if that is refused"
    assert longest_ms >= producer.TRANSACTION_TIMEOUT_MS
    OrdersSettings.read({"TRANSACTION_TIMEOUT_MS": "60000"})
    with pytest.raises(SettingsError):
        OrdersSettings.read({"TRANSACTION_TIMEOUT_MS": str(longest_ms + 1)})
    assert not [name for name in worker_settings(site) if "transaction.timeout" in name], "Connect keeps Kafka's 60 s"


def test_connect_has_the_local_workers_settings(site: Site) -> None:
    expected = worker_settings(site)
    for place in ("bootstrap.servers", "listeners", "rest.advertised.host.name", "rest.advertised.port", "plugin.path"):
        del expected[place]
    told = environment("connect")
    names = {name: CONNECT_NAMES.get(name, _variable("CONNECT_", name)) for name in expected}
    assert {name: told.get(variable) for name, variable in names.items()} == expected


def test_redis_has_the_local_servers_settings(site: Site) -> None:
    own = {"bind", "port", "protected-mode", "requirepass", "daemonize", "dir"}
    expected = {line for line in _lines(redis.server_settings(site)) if line.split()[0] not in own}
    assert expected <= set(_lines(SERVICES["redis"]["command"][2]))


def test_no_database_takes_files_from_its_clients(site: Site) -> None:
    assert "local-infile = 0" in mariadb.server_settings(site), "MariaDB's default is 1"
    assert "--local-infile=0" in SERVICES["mysql"]["command"]


def test_mysql_has_the_local_servers_settings(site: Site) -> None:
    own = {"datadir", "socket", "pid-file", "init-file", "bind-address", "port", "loose-binlog-legacy-event-pos"}
    options = [line.replace(" = ", "=") for line in _lines(mariadb.server_settings(site)) if not line.startswith("[")]
    expected = {f"--{option}" for option in options if option.split("=")[0] not in own}
    assert expected <= set(SERVICES["mysql"]["command"])
    assert {"--gtid-mode=ON", "--enforce-gtid-consistency=ON"} <= set(SERVICES["mysql"]["command"])


def test_the_accounts_have_the_local_servers_names_and_rights(site: Site) -> None:
    told = environment("mysql")
    assert told["MYSQL_USER"] == environment("setup")["MYSQL_USER"] == mariadb.OWNER_USER
    assert told["CONNECTOR_DATABASE_USER"] == environment("connect")["CONNECTOR_DATABASE_USER"]
    assert told["CONNECTOR_DATABASE_USER"] == mariadb.CONNECTOR_USER
    assert told["DATASET_DATABASES"].split() == mariadb.dataset_databases()
    local = mariadb.accounts_sql(site, mariadb.dataset_databases()).replace(f"'@'{HOST}'", "'@'%'")
    # MariaDB's name for the same right.
    grants = {line.replace("BINLOG MONITOR", "REPLICATION CLIENT") for line in _lines(local) if "GRANT" in line}
    assert {line for line in _accounts_script(told) if "GRANT" in line} == grants


def test_a_password_in_the_accounts_script_is_a_literal() -> None:
    told = {**environment("mysql"), "CONNECTOR_DATABASE_PASSWORD": "o'\\"}
    created = [line for line in _accounts_script(told) if line.startswith("CREATE USER")]
    assert created == [r"CREATE USER IF NOT EXISTS 'connector'@'%' IDENTIFIED BY 'o\'\\';"]


def test_postgres_has_the_local_servers_settings(site: Site) -> None:
    own = {"listen_addresses", "port", "unix_socket_directories"}
    lines = [line.replace("'", "").replace(" = ", "=") for line in _lines(postgres.server_settings(site))]
    expected = {line for line in lines if line.split("=")[0] not in own}
    program, *options = SERVICES["postgres"]["command"]
    assert program == "postgres"
    assert set(options[::2]) == {"-c"}
    assert set(options[1::2]) == expected


def test_postgres_has_the_local_servers_accounts_and_rights(site: Site) -> None:
    told = environment("postgres")
    assert told["OWNER_USER"] == environment("setup-shop")["PGUSER"] == postgres.OWNER_USER
    assert told["CONNECTOR_PG_USER"] == environment("connect")["CONNECTOR_PG_USER"] == postgres.CONNECTOR_USER
    assert SERVICES["postgres"]["environment"]["OWNER_PASSWORD"] == SERVICES["setup-shop"]["environment"]["PGPASSWORD"]
    words = {name: SERVICES[name]["environment"]["CONNECTOR_PG_PASSWORD"] for name in ("postgres", "connect")}
    assert len(set(words.values())) == 1
    # The service of the lake has the owner's account, so that of the batch jobs is not there.
    local = postgres.accounts_sql(site).replace(f", {postgres.BATCH_USER}", "")
    rights = {line for line in _lines(local) if " PASSWORD " not in line and "DO $$" not in line}
    script = [line for line in _accounts_script(told, "postgres") if "PASSWORD" not in line]
    assert set(script) == {line for line in rights if f"TO {postgres.BATCH_USER};" not in line}


def test_a_password_in_the_accounts_script_of_postgres_is_a_literal() -> None:
    told = {**environment("postgres"), "CONNECTOR_PG_PASSWORD": "o'\\"}
    created = [line for line in _accounts_script(told, "postgres") if line.startswith("CREATE ROLE connector")]
    assert created == [r"CREATE ROLE connector LOGIN PASSWORD 'o''\';"]


def test_datasets_archive_in_groups_of_their_own_and_share_all_other_settings() -> None:
    first, *others = (SERVICES[name]["environment"] for name in ARCHIVES)
    for other in others:
        different = {name for name in first if first[name] != other[name]}
        assert different == {"DATASET", "ARCHIVE_APP_ID", "WEB_ADVERTISED_HOST"}
        assert other["DATASET"] in known_datasets()
    groups = [ArchiveSettings.read({}).archive_app_id, *(other["ARCHIVE_APP_ID"] for other in others)]
    assert len(set(groups)) == len(ARCHIVES)


def test_two_datasets_count_under_keys_and_in_groups_of_their_own() -> None:
    first, second = SERVICES["metrics"]["environment"], SERVICES["metrics-shop"]["environment"]
    different = {name for name in first if first[name] != second[name]}
    assert different == {"DATASET", "METRICS_APP_ID", "METRICS_KEY_PREFIX", "WEB_ADVERTISED_HOST"}
    assert environment("metrics-shop")["METRICS_KEY_PREFIX"] == "shop:"


def test_the_warehouse_is_that_which_the_setup_creates() -> None:
    settings = [WarehouseDatabaseSettings.read(environment(name)) for name in ("setup-shop", "warehouse-shop")]
    assert settings[0] == settings[1]
    assert "millrace warehouse apply" in SERVICES["setup-shop"]["command"][-1]


def test_the_buckets_are_those_of_the_lake() -> None:
    assert SERVICES["buckets"]["command"][2:] == [f"store/{bucket}" for bucket in BUCKETS]
    assert SERVICES["buckets"]["image"] == SERVICES["minio"]["image"]


@pytest.mark.parametrize("name", WATCHES)
def test_setup_runs_the_commands_that_exist(name: str) -> None:
    shell, options, script = SERVICES[name]["command"]
    assert (shell, options) == ("sh", "-ec")
    commands = [shlex.split(line) for line in script.splitlines()]
    warehouse = ["warehouse apply"] if name == "setup-shop" else []
    expected = ["dataset init", "topics apply", *warehouse, "connector apply"]
    assert [" ".join(command[1:]) for command in commands] == expected
    for command in (*commands, SERVICES[WATCHES[name]]["command"]):
        assert command[0] == "millrace"
        assert callable(cli.parser().parse_args(command[1:]).run)


@pytest.mark.parametrize("name", [*WATCHES, *WATCHES.values(), *WORKERS, LAKE])
def test_the_programs_are_told_settings_only(name: str) -> None:
    assert set(SERVICES[name]["environment"]) <= set(setting_fields())


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        *(
            (name, [KafkaSettings, LOGINS[source], ConnectSettings, DatasetSettings])
            for setup, source in SOURCES.items()
            for name in (setup, WATCHES[setup])
        ),
        *((name, [ObjectStoreSettings]) for name in (*ARCHIVES, LAKE)),
        (LAKE, [LakeSettings, DatabaseSettings, PostgresSettings, KafkaSettings, RedisSettings, DatasetSettings]),
        *((name, [KafkaSettings, RedisSettings, SETTINGS[application(name)]]) for name in WORKERS),
    ],
)
def test_the_programs_can_read_what_they_are_told(name: str, groups: list[type[SettingsGroup]]) -> None:
    for group in groups:
        group.read(environment(name))


@pytest.mark.parametrize("name", WORKERS)
def test_every_setting_of_the_workers_reaches_them(name: str) -> None:
    group = SETTINGS[application(name)]
    known = {name for item in dataclasses.fields(group) for name in item.metadata["names"]}
    assert known <= set(SERVICES[name]["environment"])


def test_the_lake_is_refreshed_by_a_command_that_exists() -> None:
    program, *arguments = SERVICES[LAKE]["command"]
    assert program == "millrace"
    assert callable(cli.parser().parse_args(arguments).run)


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_listens_for_others_and_is_reached_by_its_name(name: str) -> None:
    told = environment(name)
    assert (told["WEB_HOST"], told["WEB_ADVERTISED_HOST"]) == ("0.0.0.0", name)  # noqa: S104 - within its container
    assert SERVICES[name]["command"] == ["faust", "-A", application(name), "worker", "--web-port", "6066"]
    assert SERVICES[name]["ports"][0].endswith(":6066")


def test_the_example_names_every_setting_once_and_what_compose_needs_besides() -> None:
    settings, mark, rest = (REPOSITORY / ".env.example").read_text().partition(ENV_LINE)
    compose = f"# {mark}{rest}"
    assert sorted(_assignments(settings)) == sorted(setting_fields())
    assert sorted(_assignments(compose)) == sorted(set(variables()) - set(setting_fields()))
    assert len(_lines(settings + compose)) == len(_assignments(settings + compose))


def test_the_example_gives_the_defaults_and_no_secret() -> None:
    for name, value in _assignments((REPOSITORY / ".env.example").read_text()).items():
        item = setting_fields().get(name)
        if value == "":
            continue
        assert item is not None, f"{name} may be a secret"
        assert item.repr, f"{name} is a secret"
        default = item.metadata["default"]
        assert item.metadata["parse"](value) == (default.expanduser() if isinstance(default, Path) else default), name


def test_the_example_gives_every_default_there_is() -> None:
    given = _assignments((REPOSITORY / ".env.example").read_text())
    for name, item in setting_fields().items():
        default = item.metadata["default"]
        # A second name is asked when the first is not set: a value for the first would hide it.
        only_name = item.metadata["names"] == [name]
        if only_name and isinstance(default, str | int | float | Path):
            assert given[name] != "", name


def _variable(prefix: str, name: str) -> str:
    return prefix + name.upper().replace(".", "_")


def _lines(text: str) -> list[str]:
    """Lines that say something."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _assignments(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in _lines(text))}


def _accounts_script(told: dict[str, str], server: str = "mysql") -> list[str]:
    """The statements that the script would run, by a stand-in for the function of the image's entrypoint."""
    script = REPOSITORY / "stack" / f"{server}-init" / "accounts.sh"
    program = f'set -eo pipefail; docker_process_sql() {{ cat; }}; . "{script}"'
    return subprocess.run(
        ["bash", "-c", program], env=told, capture_output=True, text=True, check=True
    ).stdout.splitlines()
