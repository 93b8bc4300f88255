"""Goal: a database that is not ours goes from its URL to an equal lake, whatever difficulty one of its tables has.

Method: a schema of one difficulty per table on a real MariaDB and PostgreSQL; the commands as a person types them. The
draft has every table; the only line that a person adds declares zero dates as NULL.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from config.database_settings import DatabaseSettings, PostgresSettings
from config.dataset import load_definition
from config.engines.base import SourceSettings
from ops.cli import main
from ops.database import connected
from stack.local import Stack
from stack.servers.mariadb import OWNER_USER, socket_path
from tests.support.lake.difficult_tables import MARIADB, POSTGRES, TYPES_OF_POSTGRES
from tests.support.lake.testbed import LakeTestbed

# On every push test_foreign_dataset lands a drafted definition.
pytestmark = pytest.mark.nightly

NAME: Final = "difficult"
SCHEMAS: Final = {"mysql": MARIADB, "postgres": POSTGRES}


@pytest.fixture(params=["mysql", "postgres"])
def source(request: pytest.FixtureRequest, lake_stack: Stack, postgres_stack: Stack) -> SourceSettings:
    """A server with the schema of its engine."""
    if request.param == "mysql":
        make_in_mariadb(lake_stack)
        return DatabaseSettings.read(lake_stack.environment())
    settings = PostgresSettings.read(postgres_stack.environment())
    make_in_postgres(settings)
    return settings


def make_in_mariadb(stack: Stack) -> None:
    """Create the database as its administrator, who lets the tests' user read it."""
    as_administrator(stack, [f"SET GLOBAL max_allowed_packet = {2**30}"])  # holds for connections that begin later
    begin = ["SET sql_mode = ''", "SET time_zone = '+00:00'", f"CREATE OR REPLACE DATABASE {NAME}", f"USE {NAME}"]
    statements = [*begin, *(each for table in MARIADB for each in table.statements())]
    statements.append(f"GRANT SELECT ON {NAME}.* TO '{OWNER_USER}'@'127.0.0.1'")
    as_administrator(stack, statements)


def as_administrator(stack: Stack, statements: Sequence[str]) -> None:
    """Run statements on MariaDB, all on one connection."""
    command = ["mariadb", "--no-defaults", "--host=localhost", "--default-character-set=utf8mb4"]
    command.append(f"--socket={socket_path(stack.site)}")
    run = subprocess.run(command, input=";\n".join(statements), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def make_in_postgres(settings: PostgresSettings) -> None:
    """Create the database as its owner."""
    with connected(settings) as connection:
        connection.engine.create_database(connection, NAME, drop=True)
    with connected(settings, NAME) as connection:
        for statement in [TYPES_OF_POSTGRES, *(each for table in POSTGRES for each in table.statements())]:
            connection.engine.run_script(connection, statement)
        connection.commit()


@pytest.fixture
def testbed(
    source: SourceSettings, lake_stack: Stack, postgres_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LakeTestbed]:
    """The lake's commands, with the settings of the database."""
    settings = {**lake_stack.environment(), **postgres_stack.environment()}
    folders = {"DATASETS_DIR": str(tmp_path / "datasets"), "DATASET": NAME}
    more: Any = {**postgres_stack.environment(), **folders}
    testbed = LakeTestbed(lake_stack, tmp_path, **more)
    for key, value in {**settings, **folders}.items():
        monkeypatch.setenv(key, value)
    yield testbed
    testbed.close()


def test_every_table_arrives_and_is_equal(source: SourceSettings, testbed: LakeTestbed) -> None:
    scheme = "mysql" if source.engine == "mysql" else "postgres"
    assert main(["dataset", "init", f"{scheme}://{source.user}@{source.host}:{source.port}/{NAME}"]) == 0
    definition = load_definition(NAME)
    tables = SCHEMAS[source.engine]
    assert {table.name for table in definition.tables} == {table.plain_name for table in tables}
    path = Path(definition.folder, "definition.yaml")
    path.write_text(path.read_text().replace("name: zero,", "name: zero, zero_is_null: true,"))
    first = testbed.batch("run").text
    print(first)
    assert "unreadable" in first, "the one row that is too large is counted"
    again = testbed.batch("run").text
    assert "nothing new" in again, again
    answer = testbed.batch("reconcile", code=None)
    assert (answer.code, "verdict: equal" in answer.out) == (0, True), answer.text
    print(answer.text)
