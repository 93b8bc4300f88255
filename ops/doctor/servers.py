"""What is asked of the servers that hold data: source database, Kafka, Redis, object storage, warehouse."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from confluent_kafka.admin import AdminClient

from config.database_settings import WarehouseDatabaseSettings
from config.engines import engine_of
from config.engines.base import Connection
from config.engines.faults import EngineError
from config.kafka_security import librdkafka_client
from config.settings import (
    ConnectSettings,
    DatasetSettings,
    KafkaSettings,
    LakeSettings,
    ObjectStoreSettings,
    RedisSettings,
)
from ops.connector.mysql import log_faults
from ops.connector.publication import server_faults, table_faults
from ops.connector.settings import slot_name
from ops.connector.source_columns import source_differences
from ops.context import SILENT
from ops.database import connected
from ops.doctor.finding import Finding, Subject, ok, unused, warning, wrong
from ops.topic_differences import compare
from ops.topics import describe_topics
from ops.warehouse.commands import schema_faults
from streams.adapters.object_store import MinioBucket
from streams.adapters.redis import RedisConsole, Script
from streams.model.warehouse import warehouse_tables
from streams.topics import catalogue_of

CLOCK_OFF_S: Final = 5.0
OPEN_TOO_LONG_S: Final = 60.0
FULL: Final = 0.9
_INFO: Final = Script("return redis.call('INFO')")
_SHOWN: Final = 5


def database(subject: Subject) -> Iterator[Finding]:
    """Compare the source's tables with the definition, and look at its log, its clock and its open transactions."""
    definition, engine = subject.definition, engine_of(subject.definition)
    settings = engine.login(subject.environment)
    with connected(settings, definition.database, definition.schema) as connection:
        for difference in source_differences(connection, definition):
            yield (wrong if difference.is_wrong else warning)(str(difference))
        if any(table.feed == "changes" for table in definition.tables):
            yield from map(wrong, _log_faults(connection, subject))
        try:
            clock = engine.clock(connection)
        except EngineError as error:
            yield wrong(str(error))
            return
    off_s = abs((clock.now.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())
    if off_s > CLOCK_OFF_S:
        yield warning(f"its clock and this machine's differ by {off_s:.0f} s: synchronise both (NTP)")
    if clock.open_s > OPEN_TOO_LONG_S:
        yield warning(
            f"a transaction has been open for {clock.open_s:.0f} s, which holds back what the lake reads: end it"
        )
    yield ok(f"{settings.host}:{settings.port} has {len(definition.tables)} tables of {definition.name}")


def _log_faults(connection: Connection, subject: Subject) -> Iterator[str]:
    definition = subject.definition
    if definition.engine != "postgres":
        yield from log_faults(connection)
        return
    user = ConnectSettings.read(subject.environment).postgres_user
    yield from server_faults(connection, slot=slot_name(definition.name, 0), user=user)
    yield from table_faults(connection, definition)


def kafka(subject: Subject) -> Iterator[Finding]:
    """Compare the topics with the catalogue."""
    settings, dataset = KafkaSettings.read(subject.environment), DatasetSettings.read(subject.environment)
    admin = AdminClient(librdkafka_client(settings.bootstrap), logger=SILENT)
    partitions = settings.order_partitions
    specs = catalogue_of(subject.definition, app_id=dataset.orders_app_id, order_partitions=partitions)
    existing = describe_topics(admin, settings, specs)
    differences = [str(each) for each in compare(specs, existing, replication_factor=settings.replication_factor)]
    yield from map(wrong, differences[:_SHOWN])
    if len(differences) > _SHOWN:
        yield wrong(f"{len(differences) - _SHOWN} more differences: run `millrace topics check`")
    if not differences:
        yield ok(f"{settings.bootstrap}: {len(specs)} topics match the catalogue")


def redis(subject: Subject) -> Iterator[Finding]:
    """Look at what would make Redis lose locks: eviction, little memory, a failed save."""
    settings = RedisSettings.read(subject.environment)
    with RedisConsole(settings.url, database=0) as console:
        found = console.call(_INFO, b"").decode(errors="replace")
    info = dict(line.split(":", 1) for line in found.splitlines() if ":" in line)
    policy, limit = info.get("maxmemory_policy", "noeviction"), int(info.get("maxmemory", 0))
    if policy != "noeviction":
        yield wrong(f"maxmemory-policy is {policy}, so it may drop locks: set it to noeviction")
    if limit and int(info["used_memory"]) > FULL * limit:
        yield warning(f"{int(info['used_memory']) / limit:.0%} of maxmemory are used: raise maxmemory")
    if info.get("role") != "master":
        yield wrong(f"it is a {info.get('role', 'replica')}, which takes no writes: set REDIS_URL to the master")
    if info.get("aof_enabled") == "0":
        yield warning("without an append-only file a restart loses the newest locks: set appendonly yes")
    for name, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if info.get(name, "ok") != "ok":
            yield wrong(f"its {what} could not be written: look at its log and at its disk")
    yield ok(f"{console}: Redis {info.get('redis_version', '')}")


def minio(subject: Subject) -> Iterator[Finding]:
    """List the buckets of the lake's layers."""
    lake = LakeSettings.read(subject.environment)
    buckets = dict.fromkeys(
        parts.netloc for root in (lake.bronze, lake.silver, lake.gold) if (parts := urlsplit(root)).scheme == "s3a"
    )
    if not buckets:
        yield unused("no layer of the lake is in an object storage")
        return
    settings = ObjectStoreSettings.read(subject.environment)
    for bucket in buckets:
        asyncio.run(_list(settings, bucket))
    yield ok(f"{settings.endpoint} has the buckets {', '.join(buckets)}")


async def _list(settings: ObjectStoreSettings, bucket: str) -> None:
    keys = {"access_key": settings.access_key, "secret_key": settings.secret_key}
    store = MinioBucket(settings.endpoint, bucket, **keys, ssl_context=settings.ssl_context())
    try:
        await store.first_names("", after="")
    finally:
        await store.close()


def warehouse(subject: Subject) -> Iterator[Finding]:
    """Compare the warehouse's tables with the definition."""
    definition = subject.definition
    tables = warehouse_tables(definition.tables)
    if not tables:
        yield unused(f"no table of {definition.name} has `warehouse` in its definition")
        return
    settings = WarehouseDatabaseSettings.read(subject.environment)
    faults = schema_faults(settings, definition.name, tables)
    yield from map(wrong, faults)
    if not faults:
        yield ok(f"{settings.host}:{settings.port} has {', '.join(table.name for table in tables)}")
