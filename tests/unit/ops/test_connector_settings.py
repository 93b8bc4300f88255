"""The connector's settings: no secret in them, and one bare column as the key of each topic."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import yaml

from config.dataset import load_definition
from config.definition import Definition
from config.settings import ConnectSettings
from config.settings_group import SettingsError
from ops.connector import rest
from ops.connector.apply import check_connector, failure_of
from ops.connector.epochs import next_epoch
from ops.connector.rest import ConnectClient
from ops.connector.settings import TEMPLATES, connector_settings, slot_name, table_keys
from stack.errors import StackError
from streams.model.begun_epoch import newest_epoch
from streams.model.position import MAX_EPOCH, epoch_of
from streams.topics import SOURCE_SIGNALS, change_topic

ENVIRONMENT = {"CONNECT_URL": "http://connect:8083", "MYSQL_HOST": "db", "KAFKA_BOOTSTRAP": "kafka:9092"}
KINDS = ("mariadb", "mysql")
POSTGRES_ENVIRONMENT = {"CONNECT_URL": "http://connect:8083", "PGHOST": "db", "KAFKA_BOOTSTRAP": "kafka:9092"}
BROKER_SESSION_MS = 9_000
"""Kafka's default for `broker.session.timeout.ms`: a dead broker keeps its partitions for this long."""

LONGEST_TRANSACTION_MS = 90_000
"""`transaction.max.timeout.ms` of the servers shipped: Kafka refuses a producer that asks for more."""


def settings(kind: str = "mariadb", *, epoch: int = 0, **changes: Any) -> dict[str, str]:
    definition = msgspec.structs.replace(load_definition("project_db"), **changes)
    return connector_settings(
        definition, ConnectSettings.read(ENVIRONMENT | {"CONNECTOR_DATABASE_KIND": kind}), epoch=epoch
    )


def postgres_settings(*, epoch: int = 0) -> dict[str, str]:
    definition = msgspec.structs.replace(load_definition("project_db"), engine="postgres")
    return connector_settings(definition, ConnectSettings.read(POSTGRES_ENVIRONMENT), epoch=epoch)


@pytest.mark.parametrize("kind", KINDS)
def test_every_secret_is_a_reference(kind: str) -> None:
    secrets = {name: value for name, value in settings(kind).items() if "password" in name or "user" in name}
    assert secrets == {
        "database.user": "${env:CONNECTOR_DATABASE_USER}",
        "database.password": "${env:CONNECTOR_DATABASE_PASSWORD}",
    }


@pytest.mark.parametrize(
    "name", ["database.password", "database.ssl.keystore.password", "producer.override.sasl.jaas.config"]
)
def test_a_definition_cannot_put_a_secret_into_the_settings(name: str) -> None:
    with pytest.raises(StackError, match=re.escape(name)) as refusal:
        settings(connector={name: "open"})
    assert "open" not in str(refusal.value)


@pytest.mark.parametrize("kind", KINDS)
def test_no_placeholder_is_left(kind: str) -> None:
    assert not [value for value in settings(kind).values() if "{{" in value]


def test_the_two_databases_differ_in_the_connector_only() -> None:
    maria, mysql = (yaml.safe_load((TEMPLATES / f"{kind}.yaml").read_text()) for kind in KINDS)
    assert {name for name in maria | mysql if maria.get(name) != mysql.get(name)} == {"connector.class"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_transaction_of_the_connector_outlasts_the_death_of_a_broker(kind: str) -> None:
    limit_ms = int(settings(kind)["producer.override.transaction.timeout.ms"])
    assert 2 * BROKER_SESSION_MS <= limit_ms <= LONGEST_TRANSACTION_MS


@pytest.mark.parametrize("kind", [*KINDS, "postgres"])
def test_every_value_of_a_template_is_text(kind: str) -> None:
    content = yaml.safe_load((TEMPLATES / f"{kind}.yaml").read_text())
    assert {type(value) for value in content.values()} == {str}


def test_keys_are_bare_text() -> None:
    assert settings()["key.converter"] == "org.apache.kafka.connect.storage.StringConverter"


@pytest.mark.parametrize(
    ("table", "column"),
    [("orders", "id"), ("order_details", "order_id"), ("customers", "id"), ("payment_method", "id")],
)
def test_each_topic_is_keyed_by_its_column_and_by_no_other(table: str, column: str) -> None:
    found = settings()
    keyed_by = [
        found[f"transforms.{transform}.field"]
        for transform in found["transforms"].split(",")
        if found[f"transforms.{transform}.type"].endswith("ExtractField$Key")
        and re.fullmatch(
            found[f"predicates.{found[f'transforms.{transform}.predicate']}.pattern"],
            change_topic("project_db", table),
        )
    ]
    assert keyed_by == [column]


@pytest.mark.parametrize("topic", ["schema-history.project_db", "__debezium-heartbeat.project_db", "project_db"])
def test_no_key_is_taken_from_other_topics(topic: str) -> None:
    found = settings()
    patterns = [value for name, value in found.items() if name.startswith("predicates.") and name.endswith(".pattern")]
    assert patterns
    assert not [pattern for pattern in patterns if re.fullmatch(pattern, topic)]


def test_topics_get_the_names_of_the_catalogue() -> None:
    found = settings()
    match = re.fullmatch(found["transforms.route.regex"], "project_db.project_db.orders")
    assert match is not None
    assert found["transforms.route.replacement"].replace("$1", match[1]) == change_topic("project_db", "orders")


def test_each_epoch_has_a_name_and_a_history_of_its_own_and_the_same_topics() -> None:
    first, later = settings(), settings(epoch=2)
    assert (first["topic.prefix"], later["topic.prefix"]) == ("project_db", "project_db.e2")
    assert epoch_of(later["topic.prefix"]) == 2
    history = "schema.history.internal.kafka.topic"
    assert (first[history], later[history]) == ("schema-history.project_db", "schema-history.project_db.e2")
    assert re.fullmatch(later["transforms.route.regex"], "project_db.e2.project_db.orders")
    assert not re.fullmatch(later["transforms.route.regex"], "project_db.project_db.orders")
    differing = {"topic.prefix", history, "transforms.route.regex", "transforms.signals.regex"}
    assert {name for name in later if later[name] != first[name]} == differing


def test_a_new_epoch_is_higher_than_the_newest() -> None:
    assert (next_epoch(0, None), next_epoch(3, None), next_epoch(3, 7)) == (1, 4, 7)
    for wanted in (0, 3, MAX_EPOCH + 1):
        with pytest.raises(StackError, match=f"--epoch {wanted}: must be from 4"):
            next_epoch(3, wanted)


def test_the_newest_epoch_is_read_among_those_of_all_datasets() -> None:
    records = [
        (b"shop", b'{"epoch":9}'),
        (b"project_db", b'{"epoch":2}'),
        (b"project_db", b'{"epoch":1}'),
        (None, b"x"),
    ]
    assert newest_epoch(records, "project_db") == 2
    assert newest_epoch(records[:1], "project_db") == 0
    with pytest.raises(ValueError, match="epoch"):
        newest_epoch([(b"project_db", b'{"epoch":-1}')], "project_db")


def test_the_snapshot_reads_the_tables_in_the_order_of_the_definition() -> None:
    tables = settings()["table.include.list"].split(",")
    assert tables == [f"project_db.{name}" for name in ("payment_method", "orders", "order_details", "customers")]


def test_tables_that_refer_to_each_other_are_each_read_once() -> None:
    definition = load_definition("project_db")
    document = msgspec.to_builtins(definition)
    for table, parent in (("customers", "orders"), ("payment_method", "payment_method")):
        index = next(i for i, item in enumerate(document["tables"]) if item["name"] == table)
        rule = {"check": "reference", "action": "warn", "column": "id", "table": parent}
        document["tables"][index]["rules"] = [rule]
    names = [item.table for item in table_keys(msgspec.convert(document, Definition))]
    assert sorted(names) == sorted(table.name for table in definition.tables)


def test_a_key_of_several_columns_needs_a_topic_key() -> None:
    definition = load_definition("project_db")
    tables = tuple(msgspec.structs.replace(table, topic_key=None) for table in definition.tables)
    with pytest.raises(StackError, match=r"order_details.*topic_key"):
        settings(tables=tables)


def test_the_definition_overrides_the_template() -> None:
    assert settings(connector={"poll.interval.ms": "50"})["poll.interval.ms"] == "50"


def test_an_unknown_kind_of_database_is_refused() -> None:
    with pytest.raises(SettingsError, match="mariadb or mysql"):
        ConnectSettings.read(ENVIRONMENT | {"CONNECTOR_DATABASE_KIND": "oracle"})


def test_a_login_in_the_url_of_connect_is_not_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_BACKOFF_SECONDS", 0.0)
    no_connection = pytest.raises(StackError, match=r"Connect at 127\.0\.0\.1:1: no connection")
    with ConnectClient("http://user:secret@127.0.0.1:1") as connect, no_connection:
        connect.status("any")


def test_a_connector_for_postgres_is_complete_and_has_the_login_of_postgres() -> None:
    found = postgres_settings()
    assert not [value for value in found.values() if "{{" in value]
    assert {name: value for name, value in found.items() if "password" in name or "user" in name} == {
        "database.user": "${env:CONNECTOR_PG_USER}",
        "database.password": "${env:CONNECTOR_PG_PASSWORD}",
    }
    assert not [name for name in found if name.startswith("schema.history")]


def test_postgres_tables_are_named_by_their_schema_and_keep_their_topics_in_every_epoch() -> None:
    first, later = postgres_settings(), postgres_settings(epoch=2)
    assert first["table.include.list"].split(",")[1] == "(?-i)public.orders"
    assert re.fullmatch(first["transforms.route.regex"], "project_db.public.orders")
    assert re.fullmatch(later["transforms.route.regex"], "project_db.e2.public.orders")
    assert first["transforms.route.replacement"] == later["transforms.route.replacement"]


@pytest.mark.parametrize(
    ("found", "source"), [(postgres_settings(epoch=1), "public"), (settings(epoch=1), "project_db")], ids=str
)
def test_the_rows_of_the_signal_table_go_to_a_topic_of_their_own(found: dict[str, str], source: str) -> None:
    assert found["signal.data.collection"] == f"{source}.millrace_signal"
    assert found["transforms"].split(",")[:2] == ["signals", "route"]
    assert re.fullmatch(found["transforms.signals.regex"], f"project_db.e1.{source}.millrace_signal")
    assert not re.fullmatch(found["transforms.signals.regex"], f"project_db.e1.{source}.orders")
    assert found["transforms.signals.replacement"] == SOURCE_SIGNALS
    assert not re.fullmatch(found["transforms.route.regex"], SOURCE_SIGNALS), "the next transform leaves it alone"


@pytest.mark.parametrize("kind", KINDS)
def test_the_initial_snapshot_reads_what_orders_need_and_leaves_out_what_is_read_incrementally(kind: str) -> None:
    found = settings(kind)
    tables = ["project_db.payment_method", "project_db.orders", "project_db.order_details"]
    assert found["snapshot.include.collection.list"].split(",") == tables
    assert found["table.include.list"].split(",") == [*tables, "project_db.customers"]
    all_at_once = [msgspec.structs.replace(table, snapshot="initial") for table in load_definition("project_db").tables]
    assert "snapshot.include.collection.list" not in settings(kind, tables=tuple(all_at_once))


def test_the_initial_snapshot_of_postgres_takes_no_table_that_differs_in_case_only() -> None:
    found = postgres_settings()
    for setting in ("table.include.list", "snapshot.include.collection.list"):
        texts = [
            re.sub(r"^\(\?-i\)(.*)", r"(?-i:\1)", text) for text in found[setting].split(",")
        ]  # as Python writes it
        patterns = [re.compile(text, re.IGNORECASE) for text in texts]
        assert any(pattern.fullmatch("public.orders") for pattern in patterns)
        assert not any(pattern.fullmatch("public.Orders") for pattern in patterns), setting


@pytest.mark.parametrize("kind", [*KINDS, "postgres"])
def test_a_part_is_marked_by_rows_that_are_deleted_again(kind: str) -> None:
    found = postgres_settings() if kind == "postgres" else settings(kind)
    assert found["incremental.snapshot.watermarking.strategy"] == "insert_delete", "the table must not grow"


def test_each_epoch_has_a_slot_of_its_own_with_a_name_that_postgres_takes() -> None:
    names = [slot_name("project_db", epoch) for epoch in (0, 1)]
    assert names == ["millrace_project_db", "millrace_project_db_e1"]
    assert postgres_settings(epoch=1)["slot.name"] == names[1] == postgres_settings(epoch=1)["publication.name"]


def test_without_the_address_of_the_database_the_settings_are_refused() -> None:
    with pytest.raises(StackError, match="MYSQL_HOST"):
        connector_settings(load_definition("project_db"), ConnectSettings.read(POSTGRES_ENVIRONMENT))


def test_the_cause_of_a_failure_is_its_last_one() -> None:
    trace = "ConnectException: exceeded tolerance\n\tat X\nCaused by: Outer\n\tat Y\nCaused by: FATAL: no slot\n\tat Z"
    task = {"id": 0, "state": "FAILED", "trace": trace}
    status = {"connector": {"state": "RUNNING"}, "tasks": [task]}
    assert failure_of(status) == "FATAL: no slot"
    task["trace"] = "Only: this\n\tat X"
    assert failure_of(status) == "Only: this"


@pytest.mark.parametrize(
    ("error", "is_login"),
    [
        ('FATAL: password authentication failed for user "connector"', True),
        ("Access denied for user 'connector'@'127.0.0.1' (using password: YES)", True),
        ("Connection refused", False),
    ],
)
def test_a_login_that_the_database_rejects_names_the_variables_that_have_it(error: str, is_login: bool) -> None:
    connect = cast(ConnectClient, SimpleNamespace(validate=lambda _: {"database.hostname": [error]}))
    with pytest.raises(StackError) as raised:
        check_connector(connect, "shop-connector", postgres_settings())
    assert ("CONNECTOR_PG_USER and CONNECTOR_PG_PASSWORD" in str(raised.value)) == is_login
