"""Which settings each program reads, so that it can be given these and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from config.database_settings import DatabaseSettings, PostgresSettings, WarehouseDatabaseSettings
from config.settings import (
    ArchiveSettings,
    BatchSettings,
    ConnectSettings,
    DatasetSettings,
    KafkaSettings,
    LakeSettings,
    LookupsSettings,
    MetricsSettings,
    ObjectStoreSettings,
    OrdersSettings,
    RedisSettings,
    SparkSettings,
    WarehouseSettings,
)
from config.settings_group import SettingsGroup

PROGRAMS: Final[Mapping[str, tuple[type[SettingsGroup], ...]]] = {
    "orders": (KafkaSettings, RedisSettings, OrdersSettings),
    "lookups": (KafkaSettings, RedisSettings, LookupsSettings),
    "archive": (KafkaSettings, ObjectStoreSettings, ArchiveSettings, DatasetSettings),
    "warehouse": (KafkaSettings, WarehouseDatabaseSettings, WarehouseSettings, DatasetSettings),
    "metrics": (KafkaSettings, RedisSettings, MetricsSettings, DatasetSettings),
    "lake": (
        KafkaSettings,
        DatabaseSettings,
        PostgresSettings,
        RedisSettings,
        ObjectStoreSettings,
        SparkSettings,
        LakeSettings,
        BatchSettings,
        DatasetSettings,
    ),
    "tools": (
        KafkaSettings,
        DatabaseSettings,
        PostgresSettings,
        WarehouseDatabaseSettings,
        ConnectSettings,
        RedisSettings,
        DatasetSettings,
    ),
}
"""The groups of settings that each worker, the lake's commands, and the operator's tools read."""

SERVERS: Final[Mapping[str, str]] = {
    "kafka": "KAFKA_BOOTSTRAP",
    "database": "MYSQL_HOST",
    "PostgreSQL": "PGHOST",
    "warehouse": "WAREHOUSE_HOST",
    "connect": "CONNECT_URL",
    "redis": "REDIS_URL",
    "object storage": "MINIO_ENDPOINT",
}
"""The setting that contains the address of each server."""

_LOGINS: Final = (
    "MYSQL_PORT",
    "MYSQL_USER",
    "MYSQL_PASSWORD",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "WAREHOUSE_PORT",
    "WAREHOUSE_USER",
    "WAREHOUSE_PASSWORD",
    "MINIO_ACCESS_KEY",
    "MINIO_SECRET_KEY",
)

_AS_CONNECT_SEES_THEM: Final = (
    "CONNECTOR_DATABASE_HOST",
    "CONNECTOR_DATABASE_PORT",
    "CONNECTOR_DATABASE_KIND",
    "CONNECTOR_PG_HOST",
    "CONNECTOR_PG_PORT",
    "CONNECTOR_PG_USER",
    "CONNECTOR_KAFKA_BOOTSTRAP",
)

SERVER_SETTINGS: Final = frozenset({*SERVERS.values(), *_LOGINS, *_AS_CONNECT_SEES_THEM})
"""The settings that say where a server is and how to log in: they come from one place, or from nowhere."""


def names_of(program: str) -> frozenset[str]:
    """Return the names of all settings that a program reads."""
    groups = PROGRAMS[program]
    return frozenset(name for group in groups for item in dataclasses.fields(group) for name in item.metadata["names"])
