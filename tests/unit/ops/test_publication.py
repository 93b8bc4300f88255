"""Goal: what a PostgreSQL server or a table lacks is named, one line each, with the remedy.

Method: answers of a server, keyed by a word of the question; real ones are asked in
tests/streams/ops/test_postgres_source.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from config.dataset import load_definition
from config.engines.base import Connection
from config.engines.postgres import Postgres
from ops.connector.publication import server_faults, table_faults, type_faults, unpublished

Answer = dict[str, list[tuple[Any, ...]]]

SHOP = load_definition("shop")
WELL: Answer = {"wal_level": [("logical",)], "pg_roles": [(True,)], "pg_replication_slots": [(0, 3, 32)]}
PLAIN = {"uuid": "uuid", "string": "text", "integer": "int4", "decimal": "numeric", "timestamp": "timestamptz"}


class Server(Postgres):
    """A server whose tables are those of the shop, but for `changed` columns."""

    def __init__(self, **changed: str) -> None:
        self._changed = changed

    def column_types(self, connection: Connection) -> dict[str, dict[str, str]]:
        return {
            table.name: {
                column.name: self._changed.get(column.name, PLAIN[column.type.value]) for column in table.columns
            }
            for table in SHOP.tables
        }


class Answers:
    """A connection that answers by the first word of `answers` that a question contains."""

    def __init__(self, answers: Mapping[str, list[tuple[Any, ...]]], engine: Postgres | None = None) -> None:
        self.engine = engine or Postgres()
        self._answers = answers

    def rows(self, statement: str, values: object = ()) -> list[tuple[Any, ...]]:
        return next(rows for word, rows in self._answers.items() if word in statement)

    def value(self, statement: str, values: object = ()) -> Any:
        return self.rows(statement)[0][0]


def connection(answers: Mapping[str, list[tuple[Any, ...]]], engine: Postgres | None = None) -> Connection:
    return cast(Connection, Answers(answers, engine))


def test_a_server_with_everything_has_no_fault() -> None:
    assert list(server_faults(connection(WELL), slot="millrace_shop", user="connector")) == []


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ({"wal_level": [("replica",)]}, "ALTER SYSTEM SET wal_level = 'logical'"),
        ({"pg_roles": []}, "CREATE ROLE connector LOGIN REPLICATION"),
        ({"pg_roles": [(False,)]}, "ALTER ROLE connector REPLICATION"),
        ({"pg_replication_slots": [(0, 32, 32)]}, "raise max_replication_slots"),
    ],
    ids=["wal_level", "no account", "an account that may not replicate", "no slot free"],
)
def test_what_the_server_lacks_is_named(answer: Answer, remedy: str) -> None:
    [fault] = server_faults(connection(WELL | answer), slot="millrace_shop", user="connector")
    assert remedy in fault


def test_a_slot_that_exists_needs_no_free_one() -> None:
    full = connection(WELL | {"pg_replication_slots": [(1, 32, 32)]})
    assert list(server_faults(full, slot="millrace_shop", user="connector")) == []


@pytest.mark.parametrize(
    ("row", "remedy"),
    [
        (("v", "f", None), "leave it out of the definition"),
        (("r", "d", ["id"]), "ALTER TABLE public.customers REPLICA IDENTITY FULL"),
        (("r", "f", None), "has no primary key: add one, or leave the table out"),
        (("r", "f", ["email"]), "its primary key is (email), but the definition's key is (id)"),
    ],
    ids=["a view", "identity", "no key", "another key"],
)
def test_what_a_table_lacks_is_named(row: tuple[Any, ...], remedy: str) -> None:
    only = msgspec.structs.replace(SHOP, tables=(SHOP.table("customers"),))
    [fault] = table_faults(connection({"pg_class": [("customers", *row)]}), only)
    assert remedy in fault
    [missing] = table_faults(connection({"pg_class": []}), only)
    assert "does not exist" in missing


def test_a_column_of_a_type_that_cannot_be_compared_is_named_with_the_way_out() -> None:
    assert list(type_faults(connection({}, Server()), SHOP)) == []
    [refused] = type_faults(connection({}, Server(country="timetz")), SHOP)
    assert "column customers.country has type timetz" in refused
    assert "use timestamptz" in refused
    [other] = type_faults(connection({}, Server(country="bytea")), SHOP)
    assert "is not read as string: write binary" in other
    [unknown] = type_faults(connection({}, Server(country="int4range")), SHOP)
    assert "leave the column out of the definition" in unknown


def test_tables_that_are_not_published_are_named() -> None:
    published = {"pg_publication_tables": [("public", "customers"), ("other", "orders"), ("public", "products")]}
    lacking = ["millrace_heartbeat", "millrace_signal", "order_items", "orders"]
    assert unpublished(connection(published), SHOP, "millrace_shop") == lacking
