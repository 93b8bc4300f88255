"""Redis, MariaDB and MinIO with TLS, for tests of how the program connects to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import urllib3
from minio import Minio

from config.tls import trusting
from stack.job import Job
from stack.local import Stack
from stack.ports import HOST, free_ports
from stack.servers import mariadb, minio, redis
from stack.site import Site
from tests.support.authority import Authority

SERVERS: Final = ("redis", "mariadb", "minio")
Replace = Callable[[object, str, object], None]


class EncryptedStack:
    """The servers.

    Attributes:
        authority: who signed the servers' certificates, which are for 127.0.0.1.
        environment: settings with which programs connect.
    """

    def __init__(self, stack: Stack, authority: Authority, redis_port: int) -> None:
        self.authority = authority
        plain = stack.environment()
        login = urlsplit(plain["REDIS_URL"])
        self.environment = plain | {
            "REDIS_URL": urlunsplit(login._replace(scheme="rediss", netloc=f":{login.password}@{HOST}:{redis_port}")),
            "REDIS_CA_FILE": authority.ca_file,
            "MYSQL_TLS": "verify-full",
            "MYSQL_CA_FILE": authority.ca_file,
            "MINIO_ENDPOINT": plain["MINIO_ENDPOINT"].replace("http:", "https:"),
            "MINIO_CA_FILE": authority.ca_file,
        }


@contextmanager
def encrypted_stack(folder: Path, replace: Replace) -> Iterator[EncryptedStack]:
    """Start the servers; `replace` sets an attribute for the duration of the test."""
    (folder / "authority").mkdir()
    authority, ports = Authority(folder / "authority"), free_ports(["redis"])
    _encrypt_redis(authority, ports["redis"], replace)
    _encrypt_mariadb(authority, replace)
    _encrypt_minio(authority, replace)
    with Stack.at(folder / "stack", ports=free_ports(), servers=SERVERS, die_with_parent=True) as stack:
        yield EncryptedStack(stack, authority, ports["redis"])


def _encrypt_redis(authority: Authority, port: int, replace: Replace) -> None:
    usual, files = redis.server_settings, authority.folder / "server"
    lines = [
        f"tls-port {port}",
        f"tls-cert-file {files}.crt",
        f"tls-key-file {files}.key",
        f"tls-ca-cert-file {authority.ca_file}",
        "tls-auth-clients no",
    ]
    replace(redis, "server_settings", lambda site: "\n".join([usual(site), *lines, ""]))


def _encrypt_mariadb(authority: Authority, replace: Replace) -> None:
    usual, files = mariadb.server_settings, authority.folder / "server"
    lines = f"ssl-cert = {files}.crt\nssl-key = {files}.key\nssl-ca = {authority.ca_file}\n"
    replace(mariadb, "server_settings", lambda site: usual(site) + lines)


def _encrypt_minio(authority: Authority, replace: Replace) -> None:
    usual = minio.MinIO.prepare

    def prepare(self: minio.MinIO, site: Site, job: Job) -> None:
        usual(self, site, job)
        certificates = site.folder / "conf" / "minio-certs"
        certificates.mkdir()
        shutil.copy(authority.folder / "server.crt", certificates / "public.crt")
        shutil.copy(authority.folder / "server.key", certificates / "private.key")

    pool = partial(urllib3.PoolManager, ssl_context=trusting(Path(authority.ca_file), "the test"))

    def client(address: str, **options: Any) -> Minio:
        return Minio(address, **{**options, "secure": True, "http_client": pool(timeout=3.0, retries=False)})

    replace(minio.MinIO, "prepare", prepare)
    replace(minio, "Minio", client)
