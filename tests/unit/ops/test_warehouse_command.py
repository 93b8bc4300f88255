"""Goal: `millrace warehouse` never touches the schema in which the source's own tables are.

Method: a definition whose schema has the dataset's name; nothing may be connected to.
"""

from __future__ import annotations

import argparse

import msgspec
import pytest

from config.dataset import load_definition
from ops.warehouse import commands, place
from stack.errors import StackError
from streams.model.warehouse import warehouse_tables

SOURCE = {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGUSER": "owner", "PGPASSWORD": "word", "DATASET": "shop"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings; the source's tables are in the schema `shop` of the database `erp`."""
    definition = msgspec.structs.replace(load_definition("shop"), database="erp", schema="shop")
    settings = {**SOURCE, "WAREHOUSE_DATABASE": "erp"}
    monkeypatch.setattr(place, "definition_of", lambda dataset: definition)
    monkeypatch.setattr(place, "settings_environment", lambda arguments: settings)
    monkeypatch.setattr("ops.database.CONNECT_TRIES", 1)
    return settings


@pytest.mark.parametrize("run", [commands.run_apply, commands.run_reset])
def test_the_sources_own_schema_is_refused(environment: dict[str, str], run: object) -> None:
    assert callable(run)
    with pytest.raises(StackError, match="schema shop of erp has the source's own tables: set WAREHOUSE_DATABASE"):
        run(argparse.Namespace(yes=True, table=None))


@pytest.mark.parametrize("other", [{"WAREHOUSE_DATABASE": "warehouse"}, {"WAREHOUSE_PORT": "2"}])
def test_another_database_or_server_is_taken(environment: dict[str, str], other: dict[str, str]) -> None:
    environment |= other
    with pytest.raises(StackError, match="can't reach the database server"):
        commands.run_reset(argparse.Namespace(yes=True, table=None))


def test_a_table_that_is_reset_is_read_from_the_beginning_of_its_topic_and_no_other() -> None:
    definition = load_definition("shop")
    [orders] = [table for table in warehouse_tables(definition.tables) if table.name == "fact_orders"]
    script = commands.removal_of_table(definition, orders)
    assert 'DROP TABLE IF EXISTS "shop"."fact_orders";' in script
    assert """DELETE FROM "shop".stream_offsets WHERE topic = 'dbserver1.public.orders';""" in script


def test_a_table_that_the_warehouse_does_not_have_is_refused(environment: dict[str, str]) -> None:
    environment["WAREHOUSE_DATABASE"] = "warehouse"
    with pytest.raises(StackError, match="unknown table 'orders' of the warehouse"):
        commands.run_reset(argparse.Namespace(yes=True, table="orders"))
