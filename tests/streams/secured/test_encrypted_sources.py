"""Goal: a connector captures a database that takes connections with TLS only, and refuses a server that is not trusted.

Method: MariaDB and PostgreSQL with certificates of the test's own authority, and the commands that a person types. On
every push, `tests/unit/ops/test_connector_settings.py` checks the settings, and `tests/lake/test_encrypted_servers.py`
the other clients.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.dataset import load_definition
from config.engines import engine_of
from ops.cli import main
from ops.database import connected
from ops.topic_reader import TopicReader
from streams.topics import topic_under
from tests.streams.ops.test_foreign_dataset import Foreign
from tests.streams.secured.encrypted_sources import EncryptedSources, encrypted_sources
from tests.support.authority import authority_file
from tests.support.postgres_source import DEFINITION, SCHEMA, wait_for

pytestmark = pytest.mark.nightly
TLS_OF = {
    "postgres": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mysql": "SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'",
}
UNTRUSTED = {"postgres": "PGSSLROOTCERT", "mysql": "MYSQL_CA_FILE"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncryptedSources]:
    with (
        pytest.MonkeyPatch.context() as patch,
        encrypted_sources(tmp_path_factory.mktemp("encrypted"), patch.setattr) as found,
    ):
        yield found


@pytest.fixture(params=["mysql", "postgres"])
def name(
    sources: EncryptedSources, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A dataset with its database and topics."""
    engine, name = request.param, f"tls_{secrets.token_hex(4)}"
    definition, schema = DEFINITION.format(name=name).replace("postgres", engine), SCHEMA
    if engine == "mysql":
        definition += 'connector: {database.server.id: "5418"}\n'
        schema = "CREATE TABLE customers (id bigint PRIMARY KEY, email varchar(100) NOT NULL);\n"
        _grant(Foreign(sources.stack), name)
    (tmp_path / name).mkdir()
    (tmp_path / name / "definition.yaml").write_text(definition)
    (tmp_path / name / "schema.sql").write_text(schema)
    for key, value in {**sources.environment, "DATASETS_DIR": str(tmp_path), "DATASET": name}.items():
        monkeypatch.setenv(key, value)
    assert main(["dataset", "init"]) == 0
    assert main(["topics", "apply"]) == 0
    yield name
    main(["connector", "delete"])


def _grant(server: Foreign, name: str) -> None:
    owner, connector = "'millrace'@'127.0.0.1'", "'connector'@'127.0.0.1'"
    server.run_as_root(
        f"GRANT ALL PRIVILEGES ON `{name}`.* TO {owner}; GRANT SELECT, LOCK TABLES ON `{name}`.* TO {connector}; "
        f"GRANT CREATE, INSERT, DELETE ON `{name}`.millrace_signal TO {connector}"
    )


def test_rows_of_a_database_that_only_takes_tls_arrive(sources: EncryptedSources, name: str) -> None:
    definition = load_definition(name)
    login = engine_of(definition).login(sources.environment)
    with connected(login, definition.database, definition.schema) as connection, connection.cursor() as cursor:
        assert connection.value(TLS_OF[definition.engine])
        cursor.execute("INSERT INTO customers VALUES (1, 'read')")
        connection.commit()
        assert main(["connector", "apply", "--wait-snapshot"]) == 0
        cursor.execute("INSERT INTO customers VALUES (2, 'changed')")
        connection.commit()
    topic = topic_under(definition.topic_prefix, "customers")

    def has_both() -> bool:
        found: list[bytes] = []
        with TopicReader(sources.environment["KAFKA_BOOTSTRAP"], topic, "test") as reader:
            reader.visit_to_end(lambda key, _: found.append(key or b""))
        return sorted(found) == [b"1", b"2"]

    wait_for(has_both)


def test_a_server_that_is_not_trusted_is_refused_with_the_setting_to_check(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = UNTRUSTED[load_definition(name).engine]
    monkeypatch.setenv(setting, str(authority_file(tmp_path / "other.pem")))
    assert main(["connector", "apply"]) == 1
    assert setting in capsys.readouterr().err
