"""Goal: workers, commands and the lake reach Redis, MariaDB and MinIO with TLS, and name what is wrong with a server.

Method: real servers with certificates of the test's own authority. Each of the program's clients connects to them; the
servers say whether they were reached with TLS.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from batch.errors import BatchError
from batch.storage.database import connected as read_by_the_lake
from batch.storage.objects import object_folder
from config.database_settings import DatabaseSettings
from config.settings import ObjectStoreSettings, RedisSettings, SparkSettings, environment_with
from ops.database import connected
from stack.errors import StackError
from stack.site import REPOSITORY
from streams.adapters.object_store import MinioBucket
from streams.adapters.redis import RedisAwayError, RedisClient, RedisConsole, Script
from streams.model.errors import SinkAwayError
from tests.lake.encrypted_lake import CIPHER
from tests.lake.encrypted_stack import EncryptedStack, encrypted_stack

ECHO = Script("return ARGV[1]")
PASSWORDS = ("MYSQL_PASSWORD", "REDIS_URL", "MINIO_SECRET_KEY")


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


def test_spark_and_delta_rs_reach_storage_and_database_with_tls(
    servers: EncryptedStack, spark_settings: SparkSettings, tmp_path: Path
) -> None:
    told = {"SPARK_MASTER": "local[2]", "SPARK_DRIVER_MEMORY": "1g", "LOG_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-m", "tests.lake.encrypted_lake", "s3a://bronze/encrypted_table"],
        cwd=REPOSITORY,
        env=environment_with({**servers.environment, **told, "SPARK_JARS": str(spark_settings.jars)}),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout.splitlines()[-1])
    assert seen["version"] == 0
    assert seen["cipher"].startswith("TLS_")


@pytest.mark.parametrize("use", [use_redis, use_mariadb, use_minio])
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"_CA_FILE": "other.pem"}, "not signed by a trusted authority: check {}_CA_FILE"),
        ({"127.0.0.1": "localhost"}, "for another host name: check {}_"),
        ({"PASSWORD": "wrong"}, "check .*{}_"),
    ],
    ids=["another authority", "another host name", "wrong password"],
)
def test_a_server_that_is_refused_or_refuses_is_named_in_one_line(
    servers: EncryptedStack, use: object, changed: Mapping[str, str], said: str
) -> None:
    server = {use_redis: "REDIS", use_mariadb: "MYSQL", use_minio: "MINIO"}[use]  # type: ignore[index]
    environment = dict(servers.environment)
    for name, value in servers.environment.items():
        if "_CA_FILE" in changed and name.endswith("_CA_FILE"):
            environment[name] = servers.authority.other_ca_file
        if "127.0.0.1" in changed:
            environment[name] = value.replace("127.0.0.1", "localhost")
        if "PASSWORD" in changed and name in PASSWORDS:
            environment[name] = f"rediss://:wrong@{value.partition('@')[2]}" if name == "REDIS_URL" else "wrong-secret"
    with pytest.raises((StackError, BatchError, RedisAwayError, SinkAwayError), match=said.format(server)) as refused:
        use(environment)  # type: ignore[operator]
    assert "\n" not in str(refused.value)
