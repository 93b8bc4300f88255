"""Source databases that take connections with TLS only, beside Kafka and Connect, for tests of their connectors."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from pathlib import Path
from typing import Final

from stack.job import Job
from stack.local import Stack
from stack.servers import connect, mariadb, postgres
from stack.servers.base import Command
from stack.site import Site
from tests.support.authority import Authority
from tests.support.stacks import stack_with_postgres

SERVERS: Final = ("kafka", "connect", "mariadb", "postgres")
STORE_PASSWORD: Final = "changeit"  # noqa: S105 - of the test's own trust store
HOST_NAME: Final = "localhost"
"""The reader of MariaDB's log finds no address in a certificate."""

Replace = Callable[[object, str, object], None]


class EncryptedSources:
    """The servers.

    Attributes:
        environment: settings with which programs and connectors reach the databases.
    """

    def __init__(self, stack: Stack, authority: Authority) -> None:
        self.stack = stack
        self.environment = stack.environment() | {
            "MYSQL_TLS": "verify-full",
            "MYSQL_CA_FILE": authority.ca_file,
            "CONNECTOR_DATABASE_HOST": HOST_NAME,
            "CONNECTOR_DATABASE_TRUSTSTORE_FILE": str(_store(authority)),
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": authority.ca_file,
        }


@contextmanager
def encrypted_sources(folder: Path, replace: Replace) -> Iterator[EncryptedSources]:
    """Start the servers; `replace` sets an attribute for the duration of the test."""
    (folder / "authority").mkdir()
    authority = Authority(folder / "authority", HOST_NAME)
    _encrypt_mariadb(authority, replace)
    _encrypt_postgres(authority, replace)
    _tell_connect(replace)
    with stack_with_postgres(folder / "stack", SERVERS) as stack:
        yield EncryptedSources(stack, authority)


def _store(authority: Authority) -> Path:
    """Return a Java trust store with the authority, which is made at the first call."""
    store = authority.folder / "trust.jks"
    if not store.exists():
        command = ["keytool", "-importcert", "-noprompt", "-alias", "test", "-file", authority.ca_file]
        command += ["-keystore", str(store), "-storepass", STORE_PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
    return store


def _encrypt_mariadb(authority: Authority, replace: Replace) -> None:
    usual, files = mariadb.server_settings, authority.folder / "server"
    lines = f"ssl-cert = {files}.crt\nssl-key = {files}.key\nssl-ca = {authority.ca_file}\n"
    lines += "require_secure_transport = ON\n"
    replace(mariadb, "server_settings", lambda site: usual(site) + lines)


def _encrypt_postgres(authority: Authority, replace: Replace) -> None:
    usual, usual_prepare = postgres.server_settings, postgres.Postgres.prepare

    def settings(site: Site) -> str:
        return usual(site) + "\nssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n"

    def prepare(self: postgres.Postgres, site: Site, job: Job) -> None:
        usual_prepare(self, site, job)
        data = Path(self.command(site).arguments[-1])
        for name in ("server.crt", "server.key"):
            shutil.copy(authority.folder / name, data / name)
            (data / name).chmod(0o600)
            shutil.chown(data / name, data.owner(), data.group())

    replace(postgres, "server_settings", settings)
    replace(postgres, "_LOGINS", postgres._LOGINS.replace("host ", "hostssl "))
    replace(postgres.Postgres, "prepare", prepare)


def _tell_connect(replace: Replace) -> None:
    """Give Connect the password of the trust store, to which connectors refer."""
    usual = connect.Connect.command

    def command(self: connect.Connect, site: Site) -> Command:
        found = usual(self, site)
        password = {"CONNECTOR_DATABASE_TRUSTSTORE_PASSWORD": STORE_PASSWORD}
        return changed(found, environment={**found.environment, **password})

    replace(connect.Connect, "command", command)
