"""Goal: one description of a secured Kafka fits all client libraries, and contradictions are named before any connects.

Method: the libraries' own clients are created from it (they check names and values); nothing is connected.
"""

from __future__ import annotations

import copy
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from confluent_kafka.admin import AdminClient

from config.kafka_security import (
    MECHANISMS,
    PROTOCOLS,
    Brokers,
    KafkaSecurity,
    KafkaSecurityError,
    aiokafka_client,
    chosen_password,
    java_client,
    librdkafka_client,
)
from config.settings import KafkaSettings
from tests.support.authority import authority_file

CANARY = 'hunter2 "canary" \\'


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of an authority of the test's own."""
    return authority_file(tmp_path_factory.mktemp("ca") / "ca.pem")


def security(protocol: str, ca_file: Path | None = None, mechanism: str = "SCRAM-SHA-512") -> KafkaSecurity:
    login = {"user": "shop", "password": CANARY} if protocol.startswith("SASL_") else {}
    trusted = ca_file if protocol.endswith("SSL") else None
    return KafkaSecurity(protocol=protocol, mechanism=mechanism, ca_file=trusted, **login)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_clients_of_both_libraries_accept_every_protocol(protocol: str, mechanism: str, ca_file: Path) -> None:
    given = security(protocol, ca_file, mechanism)
    AIOKafkaClient(bootstrap_servers="127.0.0.1:1", **given.aiokafka())
    AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0, **given.librdkafka()})


def test_servers_are_checked_against_the_given_authority_and_their_host_name(ca_file: Path) -> None:
    context = security("SSL", ca_file).ssl_context()
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_java_clients_get_the_prefix_and_a_reference_to_the_login() -> None:
    login = "${env:LOGIN}"
    assert java_client("SASL_SSL", "SCRAM-SHA-512", Path("/ca.pem"), login=login, prefix="producer.") == {
        "producer.security.protocol": "SASL_SSL",
        "producer.ssl.truststore.type": "PEM",
        "producer.ssl.truststore.location": "/ca.pem",
        "producer.sasl.mechanism": "SCRAM-SHA-512",
        "producer.sasl.jaas.config": login,
    }
    assert java_client("PLAINTEXT", "SCRAM-SHA-512", None, login=login) == {}


def test_the_login_of_java_clients_is_quoted() -> None:
    assert security("SASL_SSL").java_login() == (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="shop" password="hunter2 \\"canary\\" \\\\";'
    )


def test_the_brokers_are_a_text_that_knows_how_to_connect() -> None:
    environment = {"KAFKA_BOOTSTRAP": "a:1,b:2", "KAFKA_SECURITY": "SASL_PLAINTEXT", "KAFKA_USER": "shop"}
    brokers = KafkaSettings.read({**environment, "KAFKA_PASSWORD": CANARY}).bootstrap
    assert brokers == "a:1,b:2"
    assert librdkafka_client(brokers) == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "shop",
        "sasl.password": CANARY,
    }
    assert aiokafka_client("a:1") == {"bootstrap_servers": "a:1"}
    with pytest.raises(KafkaSecurityError, match="needs a login"):
        KafkaSettings.read(environment)


def test_the_password_can_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    assert chosen_password(None, file) == "hunter2"
    with pytest.raises(KafkaSecurityError, match="not both"):
        chosen_password("other", file)
    with pytest.raises(KafkaSecurityError, match="cannot read"):
        chosen_password(None, tmp_path / "missing")


def test_the_password_is_not_printed() -> None:
    assert "hunter2" not in repr(security("SASL_PLAINTEXT"))


@pytest.mark.parametrize("given", [{}, {"user": "shop"}, {"password": CANARY}])
def test_a_protocol_with_login_needs_user_and_password(given: dict[str, Any]) -> None:
    with pytest.raises(KafkaSecurityError, match="KAFKA_USER") as refused:
        KafkaSecurity(protocol="SASL_SSL", **given)
    assert "hunter2" not in str(refused.value)


def test_a_login_or_an_authority_that_would_not_be_used_is_refused(ca_file: Path) -> None:
    with pytest.raises(KafkaSecurityError, match="remove KAFKA_USER"):
        KafkaSecurity(protocol="SSL", user="shop", password=CANARY)
    with pytest.raises(KafkaSecurityError, match="remove KAFKA_CA_FILE"):
        KafkaSecurity(ca_file=ca_file)


def test_an_authority_file_that_is_missing_or_no_certificate_is_named(tmp_path: Path) -> None:
    missing, wrong = tmp_path / "missing.pem", tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for path in (missing, wrong):
        with pytest.raises(KafkaSecurityError, match="KAFKA_CA_FILE") as refused:
            KafkaSecurity(protocol="SSL", ca_file=path)
        assert str(path) in str(refused.value)


def test_a_copy_of_the_addresses_connects_in_the_same_way() -> None:
    brokers = Brokers("a:1,b:2", KafkaSecurity(protocol="SSL"))
    for made in (copy.copy(brokers), copy.deepcopy(brokers)):
        assert librdkafka_client(made) == librdkafka_client(brokers)
