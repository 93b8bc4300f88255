"""Settings are read strictly: every fault is named, every secret stays hidden.

Method: groups read from a dict instead of the process's environment.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from config.database_settings import DatabaseSettings, WarehouseDatabaseSettings
from config.settings import (
    CacheSettings,
    ConnectSettings,
    DatasetSettings,
    KafkaSettings,
    LakeSettings,
    ObjectStoreSettings,
    OrdersSettings,
    RedisSettings,
    SparkSettings,
    environment_over,
    environment_with,
)
from config.settings_group import SettingsError, SettingsGroup, read_or_exit

CANARY = "hunter2-canary"
DATABASE = {"MYSQL_HOST": "db", "MYSQL_USER": "shop", "MYSQL_PASSWORD": CANARY}
STORE = {"MINIO_ENDPOINT": "http://minio:9000", "MINIO_ACCESS_KEY": CANARY, "MINIO_SECRET_KEY": CANARY}


def faults(group: type[SettingsGroup], environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        group.read(environment)
    return str(refused.value).splitlines()


# -- reading ----------------------------------------------------------------------------------------------------------


def test_defaults_stand_for_what_is_not_set() -> None:
    settings = OrdersSettings.read({})
    assert (settings.dataset, settings.orders_app_id, settings.web_host) == (
        "project_db",
        "millrace-orders",
        "127.0.0.1",
    )
    assert settings.web_tables is False


def test_what_is_set_replaces_the_default() -> None:
    settings = OrdersSettings.read({"BATCH_MAX_RECORDS": "17", "SESSION_TIMEOUT_S": "7.5", "WEB_TABLES": "yes"})
    assert (settings.batch_max_records, settings.session_timeout_s, settings.web_tables) == (17, 7.5, True)


def test_an_empty_value_counts_as_not_set() -> None:
    assert DatabaseSettings.read(DATABASE | {"MYSQL_PORT": ""}).port == 3306
    assert "MYSQL_HOST: is not set" in faults(DatabaseSettings, DATABASE | {"MYSQL_HOST": ""})[0]


def test_variables_of_others_are_ignored() -> None:
    assert OrdersSettings.read({"UNRELATED": "x"}) == OrdersSettings.read({})


def test_the_process_is_asked_when_no_environment_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "broker:1234")
    assert KafkaSettings.read().bootstrap == "broker:1234"


def test_the_first_of_two_names_wins() -> None:
    base = {"CONNECT_URL": "http://c:8083", "KAFKA_BOOTSTRAP": "k:9092", "MYSQL_HOST": "from-here"}
    assert ConnectSettings.read(base).database_host == "from-here"
    assert ConnectSettings.read(base | {"CONNECTOR_DATABASE_HOST": "from-connect"}).database_host == "from-connect"


def test_a_layer_may_be_in_a_bucket_a_container_or_a_folder() -> None:
    for root in ("s3a://lake/bronze", "abfss://bronze@account.dfs.core.windows.net", "file:///tmp/bronze"):
        assert LakeSettings.read({"BRONZE_ROOT": f"{root}/"}).bronze == root


def test_the_sources_login_is_not_sent_to_a_warehouse_on_another_host() -> None:
    source = {"PGHOST": "db", "PGPORT": "1", "PGUSER": "owner", "PGPASSWORD": "secret"}
    assert WarehouseDatabaseSettings.read(source).port == 1
    with pytest.raises(SettingsError) as raised:
        WarehouseDatabaseSettings.read(source | {"WAREHOUSE_HOST": "other"})
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == ["WAREHOUSE_USER", "WAREHOUSE_PASSWORD"]
    own = {"WAREHOUSE_HOST": "other", "WAREHOUSE_USER": "analyst", "WAREHOUSE_PASSWORD": "word"}
    found = WarehouseDatabaseSettings.read(source | own)
    assert (found.host, found.port, found.user, found.password) == ("other", 5432, "analyst", "word")


def test_an_empty_first_name_leaves_the_second() -> None:
    settings = OrdersSettings.read({"WEB_ADVERTISED_HOST": "", "WEB_HOST": "10.0.0.1"})
    assert settings.web_advertised_host == "10.0.0.1"


@pytest.mark.parametrize("host", ["orders-1", "10.0.0.1", "worker.shop.example", "my_worker", "::1", "[fd00::1]"])
def test_a_worker_may_listen_everywhere_if_it_has_a_name_for_the_others(host: str) -> None:
    everywhere = {"WEB_HOST": "0.0.0.0", "WEB_ADVERTISED_HOST": host}  # noqa: S104 - as within a container
    assert OrdersSettings.read(everywhere).web_advertised_host == host


def test_settings_cannot_be_altered() -> None:
    with pytest.raises(FrozenInstanceError):
        OrdersSettings.read({}).dataset = "shop"  # type: ignore[misc]


# -- faults -----------------------------------------------------------------------------------------------------------


def test_every_fault_is_named_in_one_go() -> None:
    found = faults(DatabaseSettings, {"MYSQL_HOST": " ", "MYSQL_PORT": "many"})
    assert [line.split(":")[0] for line in found] == ["MYSQL_HOST", "MYSQL_PORT", "MYSQL_USER", "MYSQL_PASSWORD"]


def test_a_missing_setting_says_how_to_set_it() -> None:
    assert "millrace env" in faults(KafkaSettings, {})[0]


WRONG = [
    (KafkaSettings, "KAFKA_BOOTSTRAP", "broker"),
    (KafkaSettings, "KAFKA_BOOTSTRAP", "broker:"),
    (KafkaSettings, "KAFKA_BOOTSTRAP", ":9092"),
    (KafkaSettings, "KAFKA_BOOTSTRAP", "broker:0"),
    (KafkaSettings, "KAFKA_BOOTSTRAP", "broker:65536"),
    (KafkaSettings, "KAFKA_BOOTSTRAP", "a:1,"),
    (KafkaSettings, "KAFKA_BOOTSTRAP", "broker:²"),
    (KafkaSettings, "ORDER_PARTITIONS", "0"),
    (KafkaSettings, "ORDER_PARTITIONS", "4.0"),
    (KafkaSettings, "ORDER_PARTITIONS", "1001"),
    (KafkaSettings, "OUTPUT_COMPRESSION", "snapy"),
    (KafkaSettings, "OUTPUT_COMPRESSION", "Zstd"),
    (ConnectSettings, "CONNECT_URL", "connect:8083"),
    (ConnectSettings, "CONNECT_URL", "ftp://connect"),
    (ConnectSettings, "CONNECT_URL", "http://"),
    (ConnectSettings, "CONNECT_URL", "http://connect:99999"),
    (ConnectSettings, "CONNECT_URL", "http://connect:port"),
    (ConnectSettings, "CONNECT_URL", "http://[::1"),
    (ConnectSettings, "CONNECTOR_DATABASE_KIND", "oracle"),
    (DatasetSettings, "DATASET", "../etc"),
    (DatasetSettings, "DATASET", "a b"),
    (DatasetSettings, "DATASET", "größe"),
    (OrdersSettings, "ORDERS_APP_ID", "a/b"),
    (SparkSettings, "SPARK_DRIVER_MEMORY", "2"),
    (SparkSettings, "SPARK_DRIVER_MEMORY", "0g"),
    (SparkSettings, "SPARK_DRIVER_MEMORY", "two g"),
    (LakeSettings, "BRONZE_ROOT", "bronze"),
    (LakeSettings, "BRONZE_ROOT", "s3://bronze"),
    (LakeSettings, "BRONZE_ROOT", "s3a:///"),
    (OrdersSettings, "SESSION_TIMEOUT_S", "nan"),
    (OrdersSettings, "SESSION_TIMEOUT_S", "inf"),
    (OrdersSettings, "SESSION_TIMEOUT_S", "5.9"),
    (OrdersSettings, "SESSION_TIMEOUT_S", "90.1"),
    (OrdersSettings, "TRANSACTION_TIMEOUT_MS", "60001"),
    (OrdersSettings, "WEB_ADVERTISED_HOST", "0.0.0.0"),  # noqa: S104 - this is what must be refused
    (OrdersSettings, "WEB_ADVERTISED_HOST", "::"),
    (OrdersSettings, "WEB_ADVERTISED_HOST", "[::]"),
    (OrdersSettings, "WEB_ADVERTISED_HOST", "0.0"),
    (OrdersSettings, "WEB_ADVERTISED_HOST", "*"),
    (OrdersSettings, "WEB_ADVERTISED_HOST", "host/path"),
    (OrdersSettings, "WEB_HOST", "0.0.0.0"),  # noqa: S104 - it would be advertised too
    (OrdersSettings, "PAYMENT_METHOD_WAIT_S", "-1"),
    (OrdersSettings, "WEB_TABLES", "maybe"),
    (OrdersSettings, "STANDBY_REPLICAS", "-1"),
    (OrdersSettings, "GUARD", "perhaps"),
    (OrdersSettings, "GUARD_WHEN_AWAY", "go on"),
    (OrdersSettings, "LOCK_RETENTION_S", "0"),
    (OrdersSettings, "ORDER_CACHE_TTL_S", "0"),
    (OrdersSettings, "INCOMPLETE_AFTER_S", "-1"),
    (OrdersSettings, "ORDER_RETENTION_S", "nan"),
    (OrdersSettings, "SOURCE_EPOCH", "1"),
    (LakeSettings, "SOURCE_EPOCH", "1"),
]


@pytest.mark.parametrize(("group", "name", "value"), WRONG, ids=[f"{name}={value}" for _, name, value in WRONG])
def test_a_wrong_value_is_named_with_what_it_must_be(group: type[SettingsGroup], name: str, value: str) -> None:
    (fault,) = [line for line in faults(group, {name: value}) if line.startswith(name)]
    assert "must" in fault or "may" in fault
    assert repr(value) in fault


@pytest.mark.parametrize("value", ["a:1,b:2", " a:1 , b:2 "])
def test_several_brokers_are_separated_by_commas(value: str) -> None:
    assert KafkaSettings.read({"KAFKA_BOOTSTRAP": value}).bootstrap == "a:1,b:2"


@pytest.mark.parametrize("value", ["redis://localhost:6379", "rediss://user:word@cache/", "redis://[::1]:6379"])
def test_urls_of_redis_are_read_with_and_without_tls(value: str) -> None:
    assert RedisSettings.read({"REDIS_URL": value}).url == value.rstrip("/")


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "environment"),
    [
        (DatabaseSettings, DATABASE),
        (ObjectStoreSettings, STORE),
        (RedisSettings, {"REDIS_URL": f"redis://:{CANARY}@cache:6379"}),
    ],
)
def test_secrets_are_hidden_when_a_group_is_printed(group: type[SettingsGroup], environment: dict[str, str]) -> None:
    settings = group.read(environment)
    assert CANARY not in repr(settings) + str(settings) + f"{settings}"


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{CANARY}@cache",
        f"redis://:{CANARY}@",
        f"redis://:{CANARY}℀@cache",
        f"redis://:{CANARY}@[cache",
        f"redis://:{CANARY}@cache:port",
        f"redis://cache:{CANARY}",
    ],
    ids=["scheme", "no-host", "unicode", "bracket", "port", "password-as-port"],
)
def test_a_wrong_secret_is_not_repeated_in_the_error(url: str) -> None:
    (fault,) = faults(RedisSettings, {"REDIS_URL": url})
    assert fault.startswith("REDIS_URL: must be a URL")
    assert CANARY not in fault


# -- for whole programs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["two words", "hunter2\ncanary", "hunter2\x00canary", "h\u00e4nter2", "hunter2\tcanary"]
)
def test_a_token_that_fits_into_no_header_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(SettingsError, match="WEB_TOKEN: must be visible ASCII characters") as raised:
        OrdersSettings.read({"WEB_TOKEN": value})
    assert value not in str(raised.value)
    assert OrdersSettings.read({"WEB_TOKEN": f" {CANARY}\n"}).web_token == CANARY


def test_a_program_that_lacks_settings_ends_with_all_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("KAFKA_BOOTSTRAP", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        read_or_exit(KafkaSettings, RedisSettings)
    assert ended.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("cannot start: KAFKA_BOOTSTRAP: is not set")
    assert second.startswith("cannot start: REDIS_URL: is not set")


def test_a_setting_that_two_groups_lack_is_named_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATASET", "not a name")
    with pytest.raises(SystemExit):
        read_or_exit(DatasetSettings, OrdersSettings)
    assert capsys.readouterr().err.count("DATASET: ") == 1


def test_a_program_with_all_settings_gets_its_groups_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "broker:1234")
    kafka, orders = read_or_exit(KafkaSettings, OrdersSettings)
    assert isinstance(kafka, KafkaSettings)
    assert isinstance(orders, OrdersSettings)


def test_the_environment_of_a_child_can_be_narrowed_and_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("HIDDEN", CANARY)
    assert environment_with({"ADDED": "2"}, only=["KEPT"]) == {"KEPT": "1", "ADDED": "2"}
    assert environment_with({"KEPT": "other"})["KEPT"] == "other"


def test_defaults_lie_under_the_environment_and_empty_values_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "mine")
    monkeypatch.setenv("EMPTY", "")
    merged = environment_over({"KEPT": "default", "EMPTY": "default", "NEW": "default"})
    assert (merged["KEPT"], merged["EMPTY"], merged["NEW"]) == ("mine", "default", "default")


def test_a_tilde_in_a_folder_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DatasetSettings.read({"DATASETS_DIR": "~/sets"}).datasets_folder == tmp_path / "sets"


def test_a_folder_of_an_unknown_user_is_a_wrong_value() -> None:
    (fault,) = faults(DatasetSettings, {"DATASETS_DIR": "~no-such-user/sets"})
    assert fault.startswith("DATASETS_DIR: must be a path")


def test_without_a_home_folder_the_cache_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "~")
    with pytest.raises(SettingsError, match="MILLRACE_CACHE: is not set, and there is no home folder"):
        CacheSettings.read({}).expanded()


def test_a_login_in_a_wrong_address_is_not_repeated() -> None:
    for url in (f"ftp://user:{CANARY}@connect", f"http://user:{CANARY}@[connect"):
        assert CANARY not in "".join(faults(ConnectSettings, {"CONNECT_URL": url}))
