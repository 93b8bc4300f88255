"""Goal: a PostgreSQL database that is not ours becomes a dataset, and its changes arrive by the printed commands.

Method: a small schema with what foreign schemas have, on a real server; each command runs as a person would run it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from config.database_settings import PostgresSettings
from config.dataset import load_definition
from ops.cli import main
from ops.dataset.foreign.draft import NO_KEY
from ops.topic_reader import TopicReader
from stack.local import Stack
from streams.topics import topic_under

SCHEMA = """
CREATE SCHEMA trade;
CREATE TYPE trade.mood AS ENUM ('glad', 'so so');
CREATE DOMAIN trade.price AS numeric(8, 2);
CREATE TABLE trade."Maker" (
    id serial PRIMARY KEY, name varchar(60) NOT NULL, last_update timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE trade."Maker" IS 'Who built an instrument';
CREATE FUNCTION trade.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.last_update := now(); RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON trade."Maker" FOR EACH ROW EXECUTE FUNCTION trade.touch();
CREATE TABLE trade.instrument (
    maker_id int REFERENCES trade."Maker" (id) ON DELETE CASCADE, number bigint, mood trade.mood, day_rate trade.price,
    weight numeric, picture bytea, tags text[], lent interval, place point, note jsonb, code char(5),
    year int,
    PRIMARY KEY (maker_id, number)
);
CREATE TABLE trade.visit (at timestamptz, page text, PRIMARY KEY (at, page)) PARTITION BY RANGE (at);
CREATE TABLE trade.visit_2025 PARTITION OF trade.visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE trade.scrap (line text);
CREATE VIEW trade.named AS SELECT name FROM trade."Maker";
INSERT INTO trade."Maker" (name) VALUES ('Stainer'), ('Amati');
INSERT INTO trade.instrument VALUES (1, 7, 'glad', 12.5, 1.25, 'x', '{a}', '1 day', '(1,2)', '{}', 'ab', 1999);
"""


def owner_of(stack: Stack, database: str) -> psycopg.Connection[Any]:
    """A connection of the owner; each statement is a transaction."""
    login = PostgresSettings.read(stack.environment())
    return psycopg.connect(
        host=login.host, port=login.port, user=login.user, password=login.password, dbname=database, autocommit=True
    )


@pytest.fixture
def url(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database of its own on the shared server."""
    name, login = f"trade_{secrets.token_hex(4)}", PostgresSettings.read(stack.environment())
    with owner_of(stack, "postgres") as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with owner_of(stack, name) as connection:
        connection.execute(SCHEMA)
    for key, value in {**stack.environment(), "DATASETS_DIR": str(tmp_path), "DATASET": name}.items():
        monkeypatch.setenv(key, value)
    yield f"postgres://{login.user}@{login.host}:{login.port}/{name}"
    main(["connector", "delete"])


def test_every_table_is_taken_or_named_and_every_column_that_it_lacks(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "init", url, "--schema", "trade"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert sorted(line for line in printed if not line.startswith(("wrote", "  "))) == [
        "included  Maker: 3 columns, key id, cursor last_update",
        "included  instrument: 10 columns, key maker_id, number, cursor none: read in full",
        "included  visit: 2 columns, key at, page, cursor none: read in full",
        "left out  'named': is a view, not a table",
        f"left out  'scrap': {NO_KEY}",
        "left out  'visit_2025': is a partition, not a table",
        "without   instrument.place: type point is not supported",
        "without   instrument.year: the lake adds a column of this name to every table",
    ]
    definition = load_definition(url.rpartition("/")[2])
    assert (definition.engine, definition.schema) == ("postgres", "trade")
    assert definition.table("Maker").description == "Who built an instrument"
    rate, weight = definition.table("instrument").columns[3:5]
    assert ((rate.precision, rate.scale), (weight.precision, weight.scale)) == ((8, 2), (38, 10))


def test_the_changes_arrive_by_the_commands_that_are_printed(
    stack: Stack, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "init", url, "--schema", "trade", "--feed", "changes"]) == 0
    assert "left out  'visit': is partitioned" in capsys.readouterr().out
    name = url.rpartition("/")[2]
    assert main(["topics", "apply"]) == 0
    assert main(["connector", "apply"]) == 1
    assert "REPLICA IDENTITY FULL" in capsys.readouterr().err
    with owner_of(stack, name) as connection:  # what the owner of the source is to run
        connection.execute((tmp_path / name / "capture.sql").read_bytes())
    assert main(["connector", "apply", "--wait-snapshot"]) == 0
    topic, found = topic_under(load_definition(name).topic_prefix, "instrument"), list[bytes | None]()
    with TopicReader(stack.environment()["KAFKA_BOOTSTRAP"], topic, "test") as reader:
        reader.visit_to_end(lambda key, value: found.append(key))
    assert found == [b"1"]
    before = load_definition(name).tables
    assert main(["dataset", "init", url, "--schema", "trade", "--feed", "changes", "--force"]) == 0
    assert load_definition(name).tables == before, "the connector's own tables are no part of the dataset"


def test_the_written_schema_makes_tables_that_fit_the_definition(url: str, stack: Stack) -> None:
    assert main(["dataset", "init", url, "--schema", "trade"]) == 0
    with owner_of(stack, url.rpartition("/")[2]) as connection:
        connection.execute("DROP SCHEMA trade CASCADE")
    for _ in range(2):
        assert main(["dataset", "init"]) == 0
    with owner_of(stack, url.rpartition("/")[2]) as connection:
        connection.execute('ALTER TABLE trade."Maker" DROP COLUMN name')
    assert main(["dataset", "init"]) == 2, "a column of the definition is missing"
