"""Goal: a database that is not ours becomes a dataset that loads and runs, and nothing of it is dropped silently.

Method: a schema in the shape of Sakila (see `hire_shop.sql`) on a real MariaDB; the command runs as a person would run
it, and what it wrote is read by the same code as every definition, and made into tables and a connector.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from config.definition import Definition
from config.settings import ConnectSettings
from ops.cli import main, parser
from ops.connector.settings import connector_settings
from ops.database import connected
from ops.dataset.foreign.draft import NO_KEY
from ops.dataset.schema import verify_schema
from stack.local import Stack
from stack.servers.mariadb import socket_path
from stack.site import REPOSITORY

SCHEMA = (REPOSITORY / "tests" / "hire_shop.sql").read_text()


READER, OWNER, PASSWORD = "reader", "owner", "a word for tests"


@dataclass(frozen=True)
class Foreign:
    """A server with a database that is not ours; the command may only read there."""

    stack: Stack

    def run_as_root(self, statements: str) -> None:
        """Run statements through the socket."""
        command = ["mariadb", "--no-defaults", "--host=localhost", f"--socket={socket_path(self.stack.site)}"]
        run = subprocess.run(command, input=statements, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr

    def make(self, name: str, schema: str) -> None:
        """A database with these tables."""
        self.run_as_root(f"DROP DATABASE IF EXISTS `{name}`; CREATE DATABASE `{name}`; USE `{name}`; {schema}")

    def login(self, user: str = READER) -> DatabaseSettings:
        """An account of the database."""
        place = {name: self.stack.environment()[name] for name in ("MYSQL_HOST", "MYSQL_PORT")}
        return DatabaseSettings.read({**place, "MYSQL_USER": user, "MYSQL_PASSWORD": PASSWORD})

    def url(self, name: str = "hire_shop") -> str:
        """Of one of its databases."""
        return f"mysql://{READER}@{self.login().host}:{self.login().port}/{name}"


@pytest.fixture(scope="module")
def foreign(stack: Stack) -> Foreign:
    """A database of strangers on the shared server, with one account that reads and one that may do everything."""
    server = Foreign(stack)
    server.make("hire_shop", SCHEMA)
    for user, rights in ((READER, "SELECT, SHOW VIEW"), (OWNER, "ALL PRIVILEGES")):
        account = f"'{user}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'"
        server.run_as_root(f"CREATE USER {account}; GRANT {rights} ON *.* TO '{user}'@'127.0.0.1'")
    return server


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of datasets, and the password where the command looks for it."""
    monkeypatch.setenv("DATASETS_DIR", str(tmp_path / "datasets"))
    monkeypatch.setenv("MYSQL_PASSWORD", PASSWORD)
    return tmp_path / "datasets"


@pytest.fixture
def drafted(foreign: Foreign, datasets: Path) -> Definition:
    assert main(["dataset", "init", foreign.url()]) == 0
    return load_definition("hire_shop")


def test_every_table_is_taken_or_named_with_the_reason(
    foreign: Foreign, datasets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "init", foreign.url()]) == 0
    printed = capsys.readouterr().out
    reasons = [
        ("hired_out", "is a view, not a table"),
        ("opening hours", "the name 'opening hours' has characters other than A–Z, a–z, 0–9 and _, or is too long"),
        ("pitch", "column hertz: a key of type double can't be compared exactly"),
        ("takings", "column day: the lake adds a column of this name to every table"),
        ("visit_log", NO_KEY),
    ]
    text = (datasets / "hire_shop" / "definition.yaml").read_text()
    assert [line for line in printed.splitlines() if line.startswith("left out")] == [
        f"left out  {table!r}: {reason}" for table, reason in reasons
    ]
    listed = text.partition("# Tables left out, with the reason:\n")[2].partition("\n\n")[0]
    assert listed.splitlines() == [f"#   {table}: {reason}" for table, reason in reasons]
    taken = {table.name for table in load_definition("hire_shop").tables}
    assert taken == {"maker", "instrument", "instrument_maker", "branch", "clerk", "hire", "picture"}
    assert [line for line in printed.splitlines() if line.startswith("without")] == [
        "without   picture.image: type mediumblob is not supported",
        "without   picture.place: type point is not supported",
    ]
    assert "  # without image: type mediumblob is not supported\n" in text
    assert [line.split(":")[0] for line in printed.splitlines() if line.startswith("warning")] == ["warning   clerk"]
    assert "included  instrument_maker: 2 columns, key instrument_id, maker_id, cursor none" in printed


def test_types_keys_and_descriptions_are_the_sources(drafted: Definition, datasets: Path) -> None:
    text = (datasets / "hire_shop" / "definition.yaml").read_text()
    columns = next(t["columns"] for t in yaml.safe_load(text)["tables"] if t["name"] == "instrument")
    assert columns == [
        {"name": "instrument_id", "type": "bigint"},
        {"name": "on", "type": "integer"},
        {"name": "title", "type": "string", "length": 128},
        {"name": "story", "type": "string", "nullable": True},
        {"name": "built", "type": "integer", "nullable": True},
        {"name": "family", "type": "string", "length": 10},
        {"name": "extras", "type": "string", "length": 14, "nullable": True},
        {"name": "day_rate", "type": "decimal", "precision": 5, "scale": 2},
        {"name": "weight", "type": "double", "nullable": True},
        {"name": "is_tuned", "type": "boolean"},
        {"name": "serial", "type": "bigint", "nullable": True},
        {"name": "bought", "type": "date", "nullable": True},
        {"name": "created_at", "type": "timestamp"},
        {"name": "last_update", "type": "timestamp"},
    ]
    pairs = drafted.table("instrument_maker")
    assert (pairs.key, pairs.topic_key, pairs.feed) == (("instrument_id", "maker_id"), "instrument_id", "jdbc")
    maker = drafted.table("maker")
    assert maker.description == "Who built an instrument"
    assert maker.columns[1].description == 'As on the label; "&" and: colons happen'
    assert (drafted.database, drafted.lake_prefix) == ("hire_shop", "hire_shop")


def test_a_cursor_is_chosen_by_the_stated_rules_and_the_others_are_named(drafted: Definition, datasets: Path) -> None:
    assert {table.name: table.cursor for table in drafted.tables} == {
        "maker": "last_update",
        "instrument": "last_update",
        "instrument_maker": None,
        "branch": "modified_on",
        "clerk": None,
        "hire": "last_update",
        "picture": None,
    }
    text = (datasets / "hire_shop" / "definition.yaml").read_text()
    for remark in (
        "cursor: last_update, because the server writes it at every change, and it is never null\n",
        "cursor: last_update, because the server writes it at every change, and it is never null; without an index",
        "cursor: not created_at: ",
        "cursor: modified_on, because its name suggests that the application writes it at every change, "
        "and it is never null\n",
        "cursor: make sure that the application writes modified_on at every change, in UTC\n",
        "cursor: not updated_at: it may be null\n",
        "on: tinyint(1); ",
        "serial: unsigned; values above 9,223,372,036,854,775,807 are quarantined\n",
        "topic_key: the first column of the key; maker_id ",
    ):
        assert f"  # {remark}" in text, remark


def test_a_datetime_is_no_cursor_where_the_servers_zone_is_not_utc(foreign: Foreign, datasets: Path) -> None:
    foreign.run_as_root("SET GLOBAL time_zone = '-05:00'")
    try:
        assert main(["dataset", "init", foreign.url()]) == 0
    finally:
        foreign.run_as_root("SET GLOBAL time_zone = '+00:00'")
    definition = load_definition("hire_shop")
    assert (definition.table("branch").cursor, definition.table("hire").cursor) == (None, "last_update")
    text = (datasets / "hire_shop" / "definition.yaml").read_text()
    assert "# cursor: not modified_on: a DATETIME " in text


def test_tables_come_after_those_they_refer_to_but_for_circles(drafted: Definition) -> None:
    names = [table.name for table in drafted.tables]
    for parent, child in (
        ("maker", "instrument_maker"),
        ("instrument", "instrument_maker"),
        ("clerk", "hire"),
        ("instrument", "hire"),
    ):
        assert names.index(parent) < names.index(child)


def test_the_written_schema_makes_the_same_tables_again(
    drafted: Definition, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.run_as_root("DROP DATABASE hire_shop")
    try:
        owner = foreign.login(OWNER)
        for name, value in (("HOST", owner.host), ("PORT", str(owner.port)), ("USER", owner.user)):
            monkeypatch.setenv(f"MYSQL_{name}", value)
        for _ in range(2):
            assert main(["dataset", "init", "--dataset", "hire_shop"]) == 0
        with connected(owner, "hire_shop") as connection:
            verify_schema(connection, drafted)
            with connection.cursor() as cursor:
                cursor.execute("SHOW TABLES")
                assert len(cursor.fetchall()) == 11
    finally:
        foreign.make("hire_shop", SCHEMA)


def test_the_definition_gives_a_connector(drafted: Definition) -> None:
    environment = {"CONNECT_URL": "http://connect:8083", "MYSQL_HOST": "db", "KAFKA_BOOTSTRAP": "kafka:9092"}
    settings = connector_settings(drafted, ConnectSettings.read(environment))
    assert settings["database.include.list"] == "hire_shop"
    captured = settings["table.include.list"].split(",")
    assert sorted(captured) == sorted(f"hire_shop.{table.name}" for table in drafted.tables)
    assert settings["database.server.id"] not in ("", "5401")
    assert settings["transforms.key_instrument_id.field"] == "instrument_id"


def test_a_folder_that_is_there_is_only_written_over_when_told_so(
    foreign: Foreign, datasets: Path, drafted: Definition, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = datasets / "hire_shop"
    (folder / "gold").mkdir()
    (folder / "definition.yaml").write_text("mine")
    assert main(["dataset", "init", foreign.url()]) == 2
    said = capsys.readouterr().err
    assert str(folder) in said
    assert "--force" in said
    assert (folder / "definition.yaml").read_text() == "mine"
    assert main(["dataset", "init", foreign.url(), "--force"]) == 0
    assert load_definition("hire_shop") == drafted
    assert sorted(path.name for path in folder.iterdir()) == ["capture.sql", "definition.yaml", "gold", "schema.sql"]
    assert [path.name for path in datasets.iterdir()] == ["hire_shop"]


def test_the_dataset_can_have_another_name(foreign: Foreign) -> None:
    assert main(["dataset", "init", foreign.url(), "--dataset", "hire"]) == 0
    definition = load_definition("hire")
    assert (definition.name, definition.database, definition.lake_prefix) == ("hire", "hire_shop", "hire")


def test_no_password_is_in_what_is_written_or_said(
    foreign: Foreign, datasets: Path, drafted: Definition, capsys: pytest.CaptureFixture[str]
) -> None:
    written = "".join(path.read_text() for path in (datasets / "hire_shop").iterdir())
    assert PASSWORD not in written + capsys.readouterr().out
    with_password = foreign.url().replace("@", ":hidden-word@")
    assert main(["dataset", "init", with_password, "--force"]) == 2
    said = capsys.readouterr().err
    assert "leave the password out of the URL" in said
    assert "hidden-word" not in said


def test_columns_that_nobody_wants_are_left_out_and_wrong_ones_are_named(
    foreign: Foreign, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "init", foreign.url(), "--leave-out-columns", "hire.note,instrument.story"]) == 0
    assert "without   hire.note: by --leave-out-columns" in capsys.readouterr().out
    definition = load_definition("hire_shop")
    assert "note" not in definition.table("hire").column_names
    assert "story" not in definition.table("instrument").column_names
    for wrong, message in (("hire.nothing", "there is no column"), ("hire.hire_id", "is part of the key")):
        assert main(["dataset", "init", foreign.url(), "--force", "--leave-out-columns", wrong]) == 2
        assert message in capsys.readouterr().err


def test_the_feed_of_changes_is_chosen_and_the_commands_up_to_the_lake_are_printed(
    foreign: Foreign, datasets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "init", foreign.url(), "--feed", "changes"]) == 0
    assert {table.feed for table in load_definition("hire_shop").tables} == {"changes"}
    commands = [line.split("#")[0].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert commands[:2] == [f"export DATASETS_DIR={datasets}", "export DATASET=hire_shop"]
    programs = [shlex.split(command)[1:] for command in commands[2:] if command]
    assert all(callable(parser().parse_args(arguments).run) for arguments in programs)
    assert [" ".join(arguments[:2]) for arguments in programs] == [
        "topics apply",
        "connector apply",
        "worker archive",
        "lake run",
        "lake reconcile",
    ]
    grants = (datasets / "hire_shop" / "capture.sql").read_text()
    assert "GRANT CREATE, INSERT, DELETE ON `hire_shop`.millrace_signal TO" in grants
    foreign.run_as_root(f"CREATE USER IF NOT EXISTS 'connector'@'%'; {grants}")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("", "database 'other' has no table"),
        (
            "CREATE TABLE log (line TEXT)",
            "no table of other can be part of a dataset:\nleft out  'log': has no primary key",
        ),
    ],
)
def test_a_database_without_a_usable_table_is_refused_and_nothing_is_written(
    foreign: Foreign, datasets: Path, capsys: pytest.CaptureFixture[str], schema: str, message: str
) -> None:
    foreign.make("other", schema or "DO 0")
    assert main(["dataset", "init", foreign.url("other")]) == 2
    assert message in capsys.readouterr().err
    assert not datasets.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["oracle://me@db/shop"], "the URL must have the form mysql://user@host:port/database or postgres://"),
        (["mysql://me@db/shop", "--schema", "own"], "--schema can be used only with the URL of a PostgreSQL database"),
        (["mysql://me@db:x/shop"], "the URL's host or port is wrong"),
        (["mysql://me@db/my-shop"], "a definition can't name the database 'my-shop'"),
        (["mysql://me@db/shop", "--dataset", "My Shop"], "'My Shop' can't be a dataset's name"),
        (["mysql://me@db/audit"], "'audit' can't be a dataset's name"),
        (["mysql://me@db/shop", "--drop"], "--drop cannot be used with a URL"),
        (["mysql://me@db/shop", "--name", "mine"], "--name cannot be used with a URL"),
        (["--force"], "can be used only with a URL"),
        (["--feed", "changes"], "can be used only with a URL"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "init", *arguments]) == 2
    assert message in capsys.readouterr().err
