"""Goal: each client names what is wrong with a server: another authority, another host name, an expired certificate.

Method: a server of the test's own, which ends every connection after the handshake, and the program's own clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from deltalake import DeltaTable

from batch.errors import BatchError
from batch.storage.objects import object_folder
from batch.storage.retry import with_tries
from config.settings import ObjectStoreSettings, RedisSettings, trust_for_this_process
from stack.ports import HOST
from streams.adapters.object_store import MinioBucket
from streams.adapters.redis import RedisAwayError, RedisClient, RedisConsole, Script
from streams.model.errors import SinkAwayError
from tests.support.authority import Authority

NOTHING: Final = Script("return 1")
REFUSALS: Final = (RedisAwayError, BatchError, SinkAwayError)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextlib.contextmanager
def serving(authority: Authority, certificate: str) -> Iterator[int]:
    """Yield the port of a server that shows one of the authority's certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = authority.folder / certificate
    context.load_cert_chain(f"{files}.crt", f"{files}.key")
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # closed
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as shaken:
                    shaken.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def redis_url(host: str, port: int, ca_file: str) -> str:
    return RedisSettings.read({"REDIS_URL": f"rediss://:word@{host}:{port}", "REDIS_CA_FILE": ca_file}).url


def storage(host: str, port: int, ca_file: str) -> ObjectStoreSettings:
    login = {"MINIO_ACCESS_KEY": "user", "MINIO_SECRET_KEY": "canary"}
    return ObjectStoreSettings.read({"MINIO_ENDPOINT": f"https://{host}:{port}", "MINIO_CA_FILE": ca_file, **login})


def command_to_redis(host: str, port: int, ca_file: str) -> None:
    with RedisConsole(redis_url(host, port, ca_file), database=0) as redis:
        redis.call(NOTHING, b"")


def worker_to_redis(host: str, port: int, ca_file: str) -> None:
    async def call() -> None:
        redis = RedisClient(redis_url(host, port, ca_file), database=0)
        try:
            await redis.call(NOTHING, b"")
        finally:
            await redis.close()

    asyncio.run(call())


def lake_to_storage(host: str, port: int, ca_file: str) -> None:
    object_folder("s3a://bronze/folder", storage(host, port, ca_file)).read("object")


def archive_to_storage(host: str, port: int, ca_file: str) -> None:
    store = storage(host, port, ca_file)
    login = {"access_key": store.access_key, "secret_key": store.secret_key}

    async def call() -> None:
        bucket = MinioBucket(store.endpoint, "bronze", **login, ssl_context=store.ssl_context())
        try:
            await bucket.metadata("object")
        finally:
            await bucket.close()

    asyncio.run(call())


def delta_rs_to_storage(host: str, port: int, ca_file: str) -> None:
    options = {"aws_endpoint_url": f"https://{host}:{port}", "aws_region": "us-east-1", "max_retries": "0"}
    login = {"aws_access_key_id": "user", "aws_secret_access_key": "canary"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", ca_file)
        patch.delenv("SSL_CERT_DIR", raising=False)
        trust_for_this_process(Path(ca_file), Path(ca_file).with_suffix(".bundle"))
        with_tries(
            lambda: DeltaTable("s3://bronze/table", storage_options={**options, **login}), layer="bronze", table="table"
        )


@pytest.mark.parametrize(
    ("connect", "server"),
    [
        (command_to_redis, "REDIS"),
        (worker_to_redis, "REDIS"),
        (lake_to_storage, "MINIO"),
        (archive_to_storage, "MINIO"),
        (delta_rs_to_storage, "MINIO"),
    ],
)
@pytest.mark.parametrize(
    ("certificate", "host", "is_ours", "said"),
    [
        ("server", HOST, False, "not signed by a trusted authority: check {}_CA_FILE"),
        ("server", "localhost", True, "for another host name: check {}_"),
        ("expired", HOST, True, "has expired: renew it"),
    ],
    ids=["another authority", "another host name", "expired"],
)
def test_a_server_that_is_not_trusted_is_named_with_what_to_do(
    authority: Authority,
    connect: Callable[[str, int, str], None],
    server: str,
    certificate: str,
    host: str,
    is_ours: bool,
    said: str,
) -> None:
    ca_file = authority.ca_file if is_ours else authority.other_ca_file
    with serving(authority, certificate) as port, pytest.raises(REFUSALS, match=said.format(server)) as refused:
        connect(host, port, ca_file)
    assert "\n" not in str(refused.value)
    assert "canary" not in str(refused.value)
