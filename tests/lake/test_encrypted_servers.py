"""Goal: workers, commands and the lake reach Redis, MariaDB and MinIO with TLS.

Method: real servers with certificates of the test's own authority. Each of the program's clients connects to them; the
servers say whether they were reached with TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from batch.storage.database import connected as read_by_the_lake
from batch.storage.objects import object_folder
from config.settings import DatabaseSettings, ObjectStoreSettings, RedisSettings
from ops.database import connected
from streams.adapters.object_store import MinioBucket
from streams.adapters.redis import RedisClient, RedisConsole, Script
from tests.lake.encrypted_stack import EncryptedStack, encrypted_stack

ECHO = Script("return ARGV[1]")
CIPHER = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_CIPHER'"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncryptedStack]:
    with (
        pytest.MonkeyPatch.context() as patch,
        encrypted_stack(tmp_path_factory.mktemp("encrypted"), patch.setattr) as stack,
    ):
        yield stack


def use_redis(environment: Mapping[str, str]) -> bytes:
    """Call Redis as commands do, and then as workers do."""
    url = RedisSettings.read(environment).url

    async def as_a_worker() -> bytes:
        client = RedisClient(url, database=0)
        try:
            return bytes(await client.call(ECHO, b"worker"))
        finally:
            await client.close()

    with RedisConsole(url, database=0) as console:
        console.call(ECHO, b"command")
    return asyncio.run(as_a_worker())


def use_mariadb(environment: Mapping[str, str]) -> str:
    """Connect as commands do, and then as the lake does; return how the connection is encrypted."""
    settings = DatabaseSettings.read(environment)
    with connected(settings) as connection:
        connection.value("SELECT 1")
    with read_by_the_lake(settings, "information_schema") as connection:
        return str(connection.value(CIPHER))


def use_minio(environment: Mapping[str, str]) -> bytes:
    """Write an object as the lake does, and read its metadata as the archive does."""
    settings = ObjectStoreSettings.read(environment)
    object_folder("s3a://bronze/encrypted", settings).write("object", b"content")

    async def as_the_archive() -> None:
        login = {"access_key": settings.access_key, "secret_key": settings.secret_key}
        bucket = MinioBucket(settings.endpoint, "bronze", **login, ssl_context=settings.ssl_context())
        try:
            assert await bucket.metadata("encrypted/object") == {}
        finally:
            await bucket.close()

    asyncio.run(as_the_archive())
    return object_folder("s3a://bronze/encrypted", settings).read("object")


def test_each_server_is_reached_with_tls(servers: EncryptedStack) -> None:
    assert use_redis(servers.environment) == b"worker"
    assert use_mariadb(servers.environment).startswith("TLS_")
    assert use_minio(servers.environment) == b"content"
