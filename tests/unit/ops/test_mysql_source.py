"""Goal: a definition whose keys differ from the tables' is refused before its connector fails at the first record.

Method: the comparison is pure; the real server is in `tests/streams/ops/test_foreign_dataset.py`.
"""

from __future__ import annotations

import msgspec
import pytest

from config.definition import Column, Definition, LogicalType, Table
from config.settings import ConnectSettings
from ops.connector.mysql import check_source, encryption_warnings, key_faults

LINES = Table(
    name="lines",
    key=("order_id", "product_id"),
    columns=tuple(Column(name=name, type=LogicalType.INTEGER) for name in ("id", "order_id", "product_id")),
)
SHOP = Definition(folder=".", name="shop", engine="mysql", database="shop", lake_prefix="shop", tables=(LINES,))


@pytest.mark.parametrize(
    ("key", "setting", "words"),
    [
        (["product_id", "order_id"], "", []),
        (["id"], "", ["primary key is (id)", "message.key.columns: shop.lines:order_id,product_id"]),
        ([], "", ["no primary key", "add one"]),
        (["id"], "shop.lines:order_id,product_id", []),
        (["id"], "shop.orders:id;shop.(lines|items):order_id,product_id", []),
        (["order_id", "product_id"], "shop.lines:order_id", ["gives its records the key (order_id)"]),
    ],
)
def test_the_definitions_key_is_held_against_that_of_the_records(
    key: list[str], setting: str, words: list[str]
) -> None:
    definition = msgspec.structs.replace(SHOP, connector={"message.key.columns": setting})
    faults = list(key_faults(definition, {"lines": key}))
    assert len(faults) == bool(words)
    assert all(word in faults[0] for word in words)


def test_without_the_address_of_the_database_the_comparison_is_named_as_left_out() -> None:
    [line] = check_source(SHOP, {})
    assert "MYSQL_HOST" in line


@pytest.mark.parametrize(
    ("tls", "host", "words"),
    [
        ("verify-full", "127.0.0.1", "set CONNECTOR_DATABASE_HOST to the server's name"),
        ("verify-full", "::1", "does not find the address ::1 in a certificate"),
        ("verify-full", "db.example.org", ""),
        ("verify-ca", "127.0.0.1", ""),
        ("off", "127.0.0.1", ""),
    ],
)
def test_an_address_that_no_certificate_can_have_for_the_reader_of_the_log_is_named(
    tls: str, host: str, words: str
) -> None:
    """The connector reads the tables all the same, and fails when it begins to read the log."""
    settings = {"CONNECT_URL": "http://connect:8083", "KAFKA_BOOTSTRAP": "kafka:9092", "MYSQL_TLS": tls}
    warnings = list(encryption_warnings(ConnectSettings.read(settings | {"MYSQL_HOST": host})))
    assert len(warnings) == bool(words)
    assert all(words in line for line in warnings)
