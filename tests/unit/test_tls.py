"""Goal: the settings for TLS say all that each client needs, and an error says what is wrong and what to do.

Method: settings are read, and the arguments of the clients compared; errors have the texts that were seen with real
servers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mysql.connector
import psycopg
import pytest
import redis

from batch.errors import BatchError
from batch.storage.retry import with_tries
from config.database_settings import DatabaseSettings, PostgresSettings, WarehouseDatabaseSettings
from config.dataset import load_definition
from config.engines import ENGINES
from config.engines.faults import Fault
from config.settings import ConnectSettings, ObjectStoreSettings, RedisSettings, trust_for_this_process
from config.settings_group import SettingsError, SettingsGroup
from config.tls import certificate_fault
from ops.connector.settings import connector_settings
from ops.database import named_error
from tests.support.authority import authority_file

DATABASE = {"MYSQL_HOST": "db", "MYSQL_USER": "u", "MYSQL_PASSWORD": "p"}
POSTGRES = {"PGHOST": "db", "PGUSER": "u", "PGPASSWORD": "p"}
STORE = {"MINIO_ENDPOINT": "https://store:9000", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "s"}
CONNECT = {"CONNECT_URL": "http://connect:8083", "KAFKA_BOOTSTRAP": "kafka:9092", "MYSQL_HOST": "db", "PGHOST": "db"}
UNTRUSTED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate"


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of an authority of the test's own."""
    return authority_file(tmp_path_factory.mktemp("ca") / "ca & co.pem")


@pytest.mark.parametrize("query", ["", "?socket_keepalive=true"])
def test_the_url_of_redis_knows_the_authority_beside_its_own_options(ca_file: Path, query: str) -> None:
    environment = {"REDIS_URL": f"rediss://:word@cache:6380{query}", "REDIS_CA_FILE": str(ca_file)}
    url = RedisSettings.read(environment).url
    assert url.startswith("rediss://:word@cache:6380?" if query else "rediss://:word@cache:6380")
    assert parse_qs(urlsplit(url).query)["ssl_ca_certs"] == [str(ca_file)]
    pool = redis.ConnectionPool.from_url(url)
    assert pool.connection_kwargs["ssl_ca_certs"] == str(ca_file)
    assert RedisSettings.read({"REDIS_URL": "redis://cache"}).url == "redis://cache"


@pytest.mark.parametrize(("mode", "checks_name"), [("verify-ca", False), ("verify-full", True)])
def test_mariadb_is_checked_as_the_setting_says(
    ca_file: Path, mode: str, checks_name: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("config.engines.mysql.MySQLConnection", lambda **arguments: given.update(arguments))
    settings = DatabaseSettings.read(DATABASE | {"MYSQL_TLS": mode, "MYSQL_CA_FILE": str(ca_file)})
    ENGINES["mysql"].connect(settings, None)
    assert (given["ssl_ca"], given["ssl_verify_cert"], given["ssl_verify_identity"]) == (
        str(ca_file),
        True,
        checks_name,
    )
    jdbc = ENGINES["mysql"].jdbc(settings, "project_db", None)
    assert (jdbc["sslMode"], jdbc["serverSslCert"]) == (mode, str(ca_file))


def test_without_tls_the_drivers_get_no_word_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("config.engines.mysql.MySQLConnection", lambda **arguments: given.update(arguments))
    settings = DatabaseSettings.read(DATABASE)
    ENGINES["mysql"].connect(settings, None)
    assert not [name for name in {**given, **ENGINES["mysql"].jdbc(settings, "d", None)} if "ssl" in name.lower()]
    assert not [
        name
        for name in connector_settings(load_definition("project_db"), ConnectSettings.read(CONNECT))
        if "database.ssl" in name
    ]


def test_postgres_is_checked_as_its_own_settings_say(ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(psycopg, "connect", lambda **arguments: given.update(arguments))
    settings = PostgresSettings.read(POSTGRES | {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(ca_file)})
    ENGINES["postgres"].connect(settings, "shop")
    jdbc = ENGINES["postgres"].jdbc(settings, "shop", None)
    for found in (given, jdbc):
        assert (found["sslmode"], found["sslrootcert"]) == ("verify-full", str(ca_file))


@pytest.mark.parametrize(("kind", "mode"), [("mariadb", "verify-full"), ("mysql", "verify_identity")])
def test_the_connector_checks_the_database_with_a_trust_store_of_connect(kind: str, mode: str) -> None:
    told = {"MYSQL_TLS": "verify-full", "CONNECTOR_DATABASE_TRUSTSTORE_FILE": "/connect/trust.jks"}
    settings = ConnectSettings.read(CONNECT | told | {"CONNECTOR_DATABASE_KIND": kind})
    found = connector_settings(load_definition("project_db"), settings)
    assert {name: value for name, value in found.items() if "database.ssl" in name} == {
        "database.ssl.mode": mode,
        "database.ssl.truststore": "/connect/trust.jks",
        "database.ssl.truststore.password": "${env:CONNECTOR_DATABASE_TRUSTSTORE_PASSWORD}",
    }


def test_the_connector_for_postgres_gets_mode_and_authority() -> None:
    told = {"PGSSLMODE": "verify-ca", "PGSSLROOTCERT": "/here/ca.pem", "CONNECTOR_PG_SSLROOTCERT": "/connect/ca.pem"}
    found = connector_settings(load_definition("shop"), ConnectSettings.read(CONNECT | told))
    assert (found["database.sslmode"], found["database.sslrootcert"]) == ("verify-ca", "/connect/ca.pem")


@pytest.mark.parametrize(
    ("group", "environment", "said"),
    [
        (RedisSettings, {"REDIS_URL": "redis://cache", "REDIS_CA_FILE": "CA"}, "REDIS_CA_FILE: redis:// is not encr"),
        (DatabaseSettings, DATABASE | {"MYSQL_CA_FILE": "CA"}, "MYSQL_CA_FILE: is not used as MYSQL_TLS is off"),
        (
            ObjectStoreSettings,
            STORE | {"MINIO_ENDPOINT": "http://store", "MINIO_CA_FILE": "CA"},
            "MINIO_CA_FILE: http:// is not encrypted",
        ),
        (PostgresSettings, POSTGRES | {"PGSSLMODE": "verify-ca"}, "PGSSLMODE: verify-ca needs PGSSLROOTCERT"),
        (
            WarehouseDatabaseSettings,
            POSTGRES | {"PGSSLMODE": "verify-ca"},
            "WAREHOUSE_SSLMODE: verify-ca needs WAREHOUSE_SSLROOTCERT",
        ),
        (DatabaseSettings, DATABASE | {"MYSQL_TLS": "on"}, "MYSQL_TLS: must be off or verify-ca or verify-full"),
    ],
)
def test_an_authority_that_would_not_be_used_is_refused(
    group: type[SettingsGroup], environment: dict[str, str], said: str, ca_file: Path
) -> None:
    told = {name: str(ca_file) if value == "CA" else value for name, value in environment.items()}
    with pytest.raises(SettingsError) as refused:
        group.read(told)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("group", "environment", "name"),
    [
        (RedisSettings, {"REDIS_URL": "rediss://cache"}, "REDIS_CA_FILE"),
        (DatabaseSettings, DATABASE | {"MYSQL_TLS": "verify-ca"}, "MYSQL_CA_FILE"),
        (ObjectStoreSettings, STORE, "MINIO_CA_FILE"),
        (PostgresSettings, POSTGRES | {"PGSSLMODE": "verify-full"}, "PGSSLROOTCERT"),
    ],
)
def test_a_file_that_is_missing_or_no_certificate_is_named(
    group: type[SettingsGroup], environment: dict[str, str], name: str, tmp_path: Path
) -> None:
    missing, wrong = tmp_path / "missing.pem", tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for path in (missing, wrong):
        with pytest.raises(SettingsError, match=name) as refused:
            group.read(environment | {name: str(path)})
        assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (UNTRUSTED, "check CA"),
        ("certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1006)", "check CA"),
        ("PKIX path building failed: unable to find valid certification path to requested target", "check CA"),
        ("error trying to connect: invalid peer certificate: UnknownIssuer", "check CA"),
        ("invalid peer certificate\n   \x1b[31m\u21b3\x1b[0m UnknownIssuer", "check CA"),
        ("invalid peer certificate\n   \x1b[31m\u21b3\x1b[0m Expired", "has expired: renew it"),
        ("certificate verify failed: certificate has expired (_ssl.c:1006)", "has expired: renew it"),
        ("PKIX path validation failed: java.security.cert.CertificateExpiredException: NotAfter", "expired: renew it"),
        ("invalid peer certificate: Expired", "has expired: renew it"),
        ("certificate verify failed: Hostname mismatch, certificate is not valid for 'x'", "check ADDRESS"),
        ("certificate verify failed: IP address mismatch, certificate is not valid for '::1'", "check ADDRESS"),
        ("No subject alternative names matching IP address 127.0.0.1 found", "check ADDRESS"),
        ("Certificate for <x> doesn't match any of the subject alternative names: [y]", "check ADDRESS"),
        ('server certificate for "y" does not match host name "x"', "check ADDRESS"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "does not speak TLS: check ADDRESS"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said_in_one_way(text: str, said: str) -> None:
    found = certificate_fault(text, ca="CA", address="ADDRESS")
    assert found is not None
    assert said in found


def test_a_library_without_a_setting_trusts_the_authority_beside_the_others(
    ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, bundle = tmp_path / "usual.pem", tmp_path / "bundle.pem"
    usual.write_text("the usual ones\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(usual))
    for _ in range(2):
        trust_for_this_process(ca_file, bundle)
        assert os.environ["SSL_CERT_FILE"] == str(bundle)
        assert bundle.read_text() == f"the usual ones\n\n{ca_file.read_text()}"


@pytest.mark.parametrize("text", ["Connection refused", "Access denied for user 'x'@'y'", "timed out", ""])
def test_other_errors_are_not_about_certificates(text: str) -> None:
    assert certificate_fault(text, ca="CA", address="ADDRESS") is None


@pytest.mark.parametrize(
    ("error", "settings", "said"),
    [
        (
            mysql.connector.InterfaceError(msg=UNTRUSTED, errno=2026),
            DatabaseSettings.read(DATABASE),
            "check MYSQL_CA_FILE",
        ),
        (
            psycopg.OperationalError(f"connection failed: SSL error: {UNTRUSTED}"),
            PostgresSettings.read(POSTGRES),
            "check PGSSLROOTCERT",
        ),
    ],
)
def test_a_database_that_is_not_trusted_is_not_said_to_be_away(error: Exception, settings: Any, said: str) -> None:
    engine = ENGINES[settings.engine]
    assert engine.fault(error) is Fault.UNTRUSTED
    assert said in str(named_error(error, settings))


class AWSClientIOException(Exception):
    """The name of what S3A raises when it cannot connect."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (mysql.connector.InterfaceError(msg=UNTRUSTED, errno=2026), "the database was refused: .*MYSQL_CA_FILE"),
        (AWSClientIOException("PKIX path building failed"), "the object storage was refused: .*MINIO_CA_FILE"),
    ],
)
def test_the_lake_does_not_try_again_what_it_does_not_trust(error: Exception, said: str) -> None:
    tries: list[None] = []

    def work() -> None:
        tries.append(None)
        raise error

    with pytest.raises(BatchError, match=said):
        with_tries(work, layer="bronze", table="orders", pause=lambda seconds: None)
    assert len(tries) == 1


def test_the_warehouse_is_checked_like_the_source_unless_it_has_settings_of_its_own(ca_file: Path) -> None:
    shared = POSTGRES | {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(ca_file)}
    connection = WarehouseDatabaseSettings.read(shared).connection
    assert (connection["sslmode"], connection["sslrootcert"]) == ("verify-full", str(ca_file))
    own = WarehouseDatabaseSettings.read(POSTGRES | {"WAREHOUSE_SSLMODE": "require"}).connection
    assert (own["sslmode"], own.get("sslrootcert")) == ("require", None)
