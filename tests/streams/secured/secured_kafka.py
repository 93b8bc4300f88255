"""A Kafka with listeners for encrypted connections and logins, and an authority of the test's own.

The plain listener stays: the servers of the stack and the test itself use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported silently
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from stack.local import Stack
from stack.ports import HOST, free_ports
from stack.servers import kafka
from stack.site import Site
from tests.support.authority import Authority
from tests.support.kafka import ANSWER_S, admin

USER: Final = "shop"
PASSWORD: Final = 'hunter2 "canary" \\'  # noqa: S105 - of the test's own user
_LISTENERS: Final[Mapping[str, str]] = {"SECURED": "server", "EXPIRED": "expired"}
"""The certificate of each listener."""


class SecuredStack:
    """Kafka with secured listeners, and Redis.

    Attributes:
        stack: the servers.
        authority: who signed the listeners' certificates.
    """

    def __init__(self, stack: Stack, authority: Authority, ports: Mapping[str, int]) -> None:
        self.stack = stack
        self.authority = authority
        self._ports = ports

    def settings(self, listener: str = "SECURED") -> dict[str, str]:
        """Return the settings with which programs connect to a listener."""
        return {
            "KAFKA_BOOTSTRAP": f"{HOST}:{self._ports[listener]}",
            "KAFKA_SECURITY": "SASL_SSL",
            "KAFKA_USER": USER,
            "KAFKA_PASSWORD": PASSWORD,
            "KAFKA_CA_FILE": self.authority.ca_file,
        }


@contextmanager
def secured_stack(folder: Path, replace: Callable[[object, str, object], None]) -> Iterator[SecuredStack]:
    """Start the servers; `replace` sets an attribute for the duration of the test."""
    (folder / "authority").mkdir()
    authority, ports = Authority(folder / "authority"), free_ports(_LISTENERS)
    usual = kafka.broker_settings

    def secured(site: Site) -> dict[str, str]:
        return usual(site) | _listener_settings(usual(site), authority, ports)

    replace(kafka, "broker_settings", secured)
    with Stack.at(folder / "stack", ports=free_ports(), servers=["kafka", "redis"], die_with_parent=True) as stack:
        _create_user(stack.environment()["KAFKA_BOOTSTRAP"])
        yield SecuredStack(stack, authority, ports)


def _listener_settings(usual: Mapping[str, str], authority: Authority, ports: Mapping[str, int]) -> dict[str, str]:
    addresses = "".join(f",{name}://{HOST}:{port}" for name, port in ports.items())
    protocols = "".join(f",{name}:SASL_SSL" for name in ports)
    found = {
        "listeners": usual["listeners"] + addresses,
        "advertised.listeners": usual["advertised.listeners"] + addresses,
        "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}",
        "inter.broker.listener.name": "PLAINTEXT",
    }
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    for name, certificate in _LISTENERS.items():
        prefix = f"listener.name.{name.lower()}."
        found |= {
            f"{prefix}ssl.keystore.type": "PEM",
            f"{prefix}ssl.keystore.location": str(authority.folder / f"{certificate}.pem"),
            f"{prefix}sasl.enabled.mechanisms": "SCRAM-SHA-512",
            f"{prefix}scram-sha-512.sasl.jaas.config": login,
        }
    return found


def _create_user(bootstrap: str) -> None:
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
    client = admin(bootstrap)
    for answer in client.alter_user_scram_credentials([change]).values():
        answer.result(ANSWER_S)
