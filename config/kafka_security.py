"""How clients of Kafka encrypt their connections and log in, in the forms that the three client libraries take."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from config.settings_group import SettingsError
from config.tls import trusting

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")

_LOGIN_MODULES: Final = {
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
}


class KafkaSecurityError(SettingsError):
    """The security settings for Kafka do not fit together, or a file that they name cannot be used."""


@dataclass(frozen=True, kw_only=True)
class KafkaSecurity:
    """Protocol, login and certificate authority for connections to Kafka.

    Servers are always checked against their host name. Without `ca_file`, the system's authorities are trusted.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if self.has_login and not (self.user and self.password):
            raise KafkaSecurityError(
                f"KAFKA_SECURITY: {self.protocol} needs a login: "
                "set KAFKA_USER, and KAFKA_PASSWORD or KAFKA_PASSWORD_FILE"
            )
        if not self.has_login and (self.user or self.password):
            raise KafkaSecurityError(
                f"KAFKA_SECURITY: {self.protocol} has no login: remove KAFKA_USER and the password, or set SASL_SSL"
            )
        if self.ca_file is not None and not self.is_encrypted:
            raise KafkaSecurityError(
                f"KAFKA_SECURITY: {self.protocol} is not encrypted: remove KAFKA_CA_FILE, or set SSL or SASL_SSL"
            )
        if self.is_encrypted:
            self.ssl_context()

    @property
    def is_encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self.protocol.endswith("SSL")

    @property
    def has_login(self) -> bool:
        """Whether clients log in with a user name and password."""
        return self.protocol.startswith("SASL_")

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that trusts the certificate authority.

        Raises:
            KafkaSecurityError: the file cannot be read, or has no certificate.
        """
        return trusting(self.ca_file, "KAFKA_CA_FILE", error=KafkaSecurityError)

    def aiokafka(self) -> dict[str, Any]:
        """Return arguments for aiokafka's clients."""
        options: dict[str, Any] = {"security_protocol": self.protocol} if self.protocol != "PLAINTEXT" else {}
        if self.is_encrypted:
            options["ssl_context"] = self.ssl_context()
        if self.has_login:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return options

    def librdkafka(self) -> dict[str, Any]:
        """Return configuration for the clients of `confluent_kafka`."""
        options: dict[str, Any] = {"security.protocol": self.protocol} if self.protocol != "PLAINTEXT" else {}
        if self.is_encrypted and self.ca_file is not None:
            options["ssl.ca.location"] = str(self.ca_file)
        if self.has_login:
            options |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.user,
                "sasl.password": self.password,
            }
        return options

    def java_login(self) -> str:
        """Return user name and password in the form that Java clients take."""
        login = f"username={_quoted(self.user or '')} password={_quoted(self.password or '')}"
        return f"{_LOGIN_MODULES[self.mechanism]} required {login};"


def java_client(protocol: str, mechanism: str, ca_file: Path | None, *, login: str, prefix: str = "") -> dict[str, str]:
    """Return the properties with which a Java client, such as one of Connect, connects.

    Args:
        ca_file: path of the certificate authority where the client runs.
        login: value of the property with the login, such as a reference to a variable.
        prefix: beginning of each property's name, such as `producer.`.
    """
    options = {} if protocol == "PLAINTEXT" else {"security.protocol": protocol}
    if protocol.endswith("SSL") and ca_file is not None:
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(ca_file)}
    if protocol.startswith("SASL_"):
        options |= {"sasl.mechanism": mechanism, "sasl.jaas.config": login}
    return {prefix + name: value for name, value in options.items()}


def chosen_password(password: str | None, file: Path | None) -> str | None:
    """Return the password, or the first line of the file with the password.

    Raises:
        KafkaSecurityError: both are given, or the file cannot be read.
    """
    if file is None:
        return password
    if password is not None:
        raise KafkaSecurityError("KAFKA_PASSWORD: set this or KAFKA_PASSWORD_FILE, not both")
    try:
        return file.read_text().partition("\n")[0].strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise KafkaSecurityError(f"KAFKA_PASSWORD_FILE: cannot read {file}: {error}") from None


class Brokers(str):
    """Addresses of Kafka's brokers, as `host:port` separated by commas, and how clients connect to them.

    It is a text, so that messages, comparisons and programs that know nothing of security use it as before.
    """

    security: KafkaSecurity

    def __new__(cls, addresses: str, security: KafkaSecurity) -> Self:
        """Make a text of the addresses."""
        made = super().__new__(cls, addresses)
        made.security = security
        return made

    def __reduce__(self) -> tuple[type[Brokers], tuple[str, KafkaSecurity]]:
        """Return how to make a copy, which connects in the same way."""
        return Brokers, (str(self), self.security)


def security_of(brokers: str) -> KafkaSecurity:
    """Return how clients connect to brokers; without a word about it, unencrypted and without login."""
    return brokers.security if isinstance(brokers, Brokers) else KafkaSecurity()


def librdkafka_client(brokers: str) -> dict[str, Any]:
    """Return the configuration with which a client of `confluent_kafka` connects."""
    return {"bootstrap.servers": str(brokers), **security_of(brokers).librdkafka()}


def aiokafka_client(brokers: str) -> dict[str, Any]:
    """Return the arguments with which a client of aiokafka connects."""
    return {"bootstrap_servers": str(brokers), **security_of(brokers).aiokafka()}


def _quoted(text: str) -> str:
    """Quote a text for a JAAS configuration."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
