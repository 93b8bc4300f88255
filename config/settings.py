"""Settings from environment variables, with their types, defaults and bounds; no other module reads the environment.

Each group of settings is a frozen dataclass, which `SettingsGroup.read()` reads (`config/settings_group.py`). Missing
or wrong settings raise one `SettingsError` that lists all of them. Values marked `secret` are hidden when a group is
printed.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from config import parsing
from config import tls as encryption
from config.kafka_security import MECHANISMS, PROTOCOLS, Brokers, KafkaSecurity, chosen_password
from config.settings_group import SettingsError, SettingsGroup, setting

ROW_MAX_BYTES = 32 * 1024 * 1024
"""The usual maximum size of a row or of a change that the lake reads."""


@dataclass(frozen=True, kw_only=True)
class KafkaSettings(SettingsGroup):
    """Address of Kafka, how to connect to it, the numbers of partitions and replicas of its topics, and the compression
    of what the workers write to it.

    `bootstrap` is a `Brokers`, which knows protocol, login and certificate authority as well.
    """

    bootstrap: str = setting("KAFKA_BOOTSTRAP", parsing.bootstrap)
    security: str = setting("KAFKA_SECURITY", parsing.one_of(*PROTOCOLS), "PLAINTEXT")
    sasl_mechanism: str = setting("KAFKA_SASL_MECHANISM", parsing.one_of(*MECHANISMS), "SCRAM-SHA-512")
    user: str | None = setting("KAFKA_USER", parsing.text, None)
    password: str | None = setting("KAFKA_PASSWORD", parsing.text, None, secret=True)
    password_file: Path | None = setting("KAFKA_PASSWORD_FILE", parsing.file, None)
    ca_file: Path | None = setting("KAFKA_CA_FILE", parsing.file, None)
    order_partitions: int = setting("ORDER_PARTITIONS", parsing.whole(1, 1000), 4)
    replication_factor: int = setting("REPLICATION_FACTOR", parsing.whole(1, 9), 1)
    output_compression: str | None = setting("OUTPUT_COMPRESSION", parsing.compression, "zstd")

    def __post_init__(self) -> None:
        security = KafkaSecurity(
            protocol=self.security,
            mechanism=self.sasl_mechanism,
            user=self.user,
            password=chosen_password(self.password, self.password_file),
            ca_file=self.ca_file,
        )
        object.__setattr__(self, "bootstrap", Brokers(self.bootstrap, security))


@dataclass(frozen=True, kw_only=True)
class ConnectSettings(SettingsGroup):
    """URL of Kafka Connect, and the addresses at which Connect reaches the databases and Kafka.

    These addresses can differ from those of other programs, as when Connect runs in a container. A connector's logins
    are not settings: its configuration refers to variables of the Connect process: `CONNECTOR_DATABASE_USER` and
    `CONNECTOR_DATABASE_PASSWORD`, for PostgreSQL `CONNECTOR_PG_USER` and `CONNECTOR_PG_PASSWORD`, for a Kafka with a
    login `CONNECTOR_KAFKA_JAAS`, and for a trust store `CONNECTOR_DATABASE_TRUSTSTORE_PASSWORD`. Only
    `CONNECTOR_PG_USER` is read here too: `connector apply` gives it its rights.
    """

    url: str = setting("CONNECT_URL", parsing.url("http", "https"))
    status_topic: str = setting("CONNECT_STATUS_TOPIC", parsing.text, "millrace-connect-status")
    database_host: str | None = setting("CONNECTOR_DATABASE_HOST|MYSQL_HOST", parsing.text, None)
    database_port: int = setting("CONNECTOR_DATABASE_PORT|MYSQL_PORT", parsing.whole(1, 65535), 3306)
    postgres_host: str | None = setting("CONNECTOR_PG_HOST|PGHOST", parsing.text, None)
    postgres_port: int = setting("CONNECTOR_PG_PORT|PGPORT", parsing.whole(1, 65535), 5432)
    postgres_user: str = setting("CONNECTOR_PG_USER", parsing.text, "connector")
    kafka_bootstrap: str = setting("CONNECTOR_KAFKA_BOOTSTRAP|KAFKA_BOOTSTRAP", parsing.bootstrap)
    kafka_security: str = setting("KAFKA_SECURITY", parsing.one_of(*PROTOCOLS), "PLAINTEXT")
    kafka_sasl_mechanism: str = setting("KAFKA_SASL_MECHANISM", parsing.one_of(*MECHANISMS), "SCRAM-SHA-512")
    kafka_ca_file: Path | None = setting("CONNECTOR_KAFKA_CA_FILE|KAFKA_CA_FILE", parsing.file, None)
    database_kind: str = setting("CONNECTOR_DATABASE_KIND", parsing.one_of("mariadb", "mysql"), "mariadb")
    database_tls: str = setting("CONNECTOR_DATABASE_TLS|MYSQL_TLS", parsing.one_of(*encryption.MYSQL), "off")
    database_truststore: Path | None = setting("CONNECTOR_DATABASE_TRUSTSTORE_FILE", parsing.file, None)
    postgres_tls: str = setting("CONNECTOR_PG_SSLMODE|PGSSLMODE", parsing.one_of(*encryption.POSTGRES), "prefer")
    postgres_ca_file: Path | None = setting("CONNECTOR_PG_SSLROOTCERT|PGSSLROOTCERT", parsing.file, None)


@dataclass(frozen=True, kw_only=True)
class RedisSettings(SettingsGroup):
    """URL of Redis without a database number: 0 has look-ups and job records, 1 the order cache, 2 locks, 3 figures.

    The URL that is read knows the authority's file too, as the option `ssl_ca_certs`, so that each client obeys it.
    """

    url: str = setting("REDIS_URL", parsing.url("redis", "rediss"), secret=True)
    ca_file: Path | None = setting("REDIS_CA_FILE", parsing.file, None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", encryption.redis_url(self.url, self.ca_file))


@dataclass(frozen=True, kw_only=True)
class ObjectStoreSettings(SettingsGroup):
    """Address and access keys of MinIO or another S3-compatible object storage."""

    endpoint: str = setting("MINIO_ENDPOINT", parsing.url("http", "https"))
    access_key: str = setting("MINIO_ACCESS_KEY", parsing.text, secret=True)
    secret_key: str = setting("MINIO_SECRET_KEY", parsing.text, secret=True)
    ca_file: Path | None = setting("MINIO_CA_FILE", parsing.file, None)

    def __post_init__(self) -> None:
        self.ssl_context()

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return a context that trusts the storage's authority, or None for connections without TLS."""
        return encryption.storage_context(self.endpoint, self.ca_file)


@dataclass(frozen=True, kw_only=True)
class DeploymentSettings(SettingsGroup):
    """Settings that tools and workers must share: the dataset, and the id of the application that completes orders."""

    dataset: str = setting("DATASET", parsing.name, "project_db")
    orders_app_id: str = setting("ORDERS_APP_ID", parsing.name, "millrace-orders")


@dataclass(frozen=True, kw_only=True)
class DatasetSettings(DeploymentSettings):
    """Settings of the commands for a dataset; `datasets_folder` contains one folder per dataset."""

    datasets_folder: Path | None = setting("DATASETS_DIR", parsing.folder, None)


@dataclass(frozen=True, kw_only=True)
class CacheSettings(SettingsGroup):
    """Folder that caches the downloaded programs of the local servers."""

    folder: Path = setting("MILLRACE_CACHE", parsing.folder, Path("~/.cache/millrace"))

    def expanded(self) -> Path:
        """Return the folder with the home folder for `~`.

        Raises:
            SettingsError: the setting is not set, and this user has no home folder.
        """
        try:
            return self.folder.expanduser()
        except RuntimeError:
            raise SettingsError("MILLRACE_CACHE: is not set, and there is no home folder: set it to a folder") from None


def environment_with(extra: Mapping[str, str], *, only: Collection[str] | None = None) -> dict[str, str]:
    """Return the environment for a child process: this process's environment, overridden by `extra`.

    If `only` is given, the child inherits only the variables with these names.
    """
    return {name: value for name, value in os.environ.items() if only is None or name in only} | dict(extra)


def use_environment(environment: Mapping[str, str]) -> None:
    """Make these settings the environment of this process, and of the processes that it starts."""
    os.environ.clear()
    os.environ.update(environment)


def trust_for_this_process(ca_file: Path, bundle: Path) -> None:
    """Let libraries that have no setting of their own for it trust an authority, beside those that they trust anyway.

    The file `bundle`, which is written, has all of them; it must exist for as long as the process runs.
    """
    known = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    if known != str(bundle):
        texts = [Path(file).read_text() for file in (known, ca_file) if file is not None]
        bundle.write_text("\n".join(texts))
        os.environ["SSL_CERT_FILE"] = str(bundle)


def environment_over(defaults: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, with `defaults` for variables that are missing or empty."""
    return dict(defaults) | {name: value for name, value in os.environ.items() if value != ""}


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(DeploymentSettings):
    """Settings that the workers of all applications share."""

    state_dir: str = setting("STATE_DIR", parsing.text, ".state")
    source_epoch: int = setting("SOURCE_EPOCH", parsing.retired_epoch, 0)
    batch_max_records: int = setting("BATCH_MAX_RECORDS", parsing.whole(1, 100_000), 8_000)
    waiting_max_bytes: int = setting("WAITING_MAX_BYTES", parsing.whole(1_000, 2**31 - 1), 8 * 1024 * 1024)
    record_batch_max_bytes: int = setting("RECORD_BATCH_MAX_BYTES", parsing.whole(2**20, 2**30), 64 * 1024 * 1024)
    session_timeout_s: float = setting("SESSION_TIMEOUT_S", parsing.number(6, 90), 6.0)
    transaction_timeout_ms: int = setting("TRANSACTION_TIMEOUT_MS", parsing.whole(1_000, 60_000), 10_000)
    web_host: str = setting("WEB_HOST", parsing.text, "127.0.0.1")
    web_advertised_host: str = setting("WEB_ADVERTISED_HOST|WEB_HOST", parsing.advertised_host, "127.0.0.1")
    web_token: str | None = setting("WEB_TOKEN", parsing.token, None, secret=True)
    web_peers: tuple[str, ...] = setting("WEB_PEERS", parsing.web_addresses, ())
    web_tables: bool = setting("WEB_TABLES", parsing.flag, False)
    connect_url: str | None = setting("CONNECT_URL", parsing.url("http", "https"), None)
    log_folder: Path | None = setting("LOG_DIR", parsing.folder, None)


@dataclass(frozen=True, kw_only=True)
class OrdersSettings(WorkerSettings):
    """Settings of the application `streams.orders`."""

    payment_method_wait_s: float = setting("PAYMENT_METHOD_WAIT_S", parsing.number(0, 60), 3.0)
    state_memory_bytes: int = setting("STATE_MEMORY_BYTES", parsing.whole(2**20, 2**40), 128 * 1024 * 1024)
    source_servers: frozenset[int] = setting("SOURCE_SERVERS", parsing.numbers, frozenset())
    shared_transactions: bool = setting("SHARED_TRANSACTIONS", parsing.flag, False)
    standby_replicas: int = setting("STANDBY_REPLICAS", parsing.whole(0, 10), 0)
    guard: bool = setting("GUARD", parsing.flag, True)
    guard_when_away: str = setting("GUARD_WHEN_AWAY", parsing.one_of("wait", "go_on"), "wait")
    lock_retention_s: int = setting("LOCK_RETENTION_S", parsing.whole(1, 10 * 365 * 86_400), 7 * 86_400)
    order_cache: bool = setting("ORDER_CACHE", parsing.flag, True)
    order_cache_ttl_s: int = setting("ORDER_CACHE_TTL_S", parsing.whole(1, 86_400), 120)
    order_log: bool = setting("ORDER_LOG", parsing.flag, False)
    incomplete_after_s: float = setting("INCOMPLETE_AFTER_S", parsing.number(0, 365 * 86_400), 3_600.0)
    order_retention_s: float = setting("ORDER_RETENTION_S", parsing.number(0, 100 * 365 * 86_400), 0.0)
    figures_prefix: str | None = setting("METRICS_KEY_PREFIX", parsing.text, None)


@dataclass(frozen=True, kw_only=True)
class LookupsSettings(WorkerSettings):
    """Settings of the application `streams.lookups`."""

    lookups_app_id: str = setting("LOOKUPS_APP_ID", parsing.name, "millrace-lookups")


@dataclass(frozen=True, kw_only=True)
class ArchiveSettings(WorkerSettings):
    """Settings of the application `streams.archive`."""

    archive_app_id: str = setting("ARCHIVE_APP_ID", parsing.name, "millrace-archive")
    archive_flush_bytes: int = setting("ARCHIVE_FLUSH_BYTES", parsing.whole(1, 2**30), 16 * 1024 * 1024)
    archive_flush_s: float = setting("ARCHIVE_FLUSH_S", parsing.number(0.1, 3_600), 10.0)
    bronze: str = setting("BRONZE_ROOT", parsing.bucket_folder, "s3a://bronze")


@dataclass(frozen=True, kw_only=True)
class WarehouseSettings(WorkerSettings):
    """Settings of the application `streams.warehouse`."""

    warehouse_app_id: str = setting("WAREHOUSE_APP_ID", parsing.name, "millrace-warehouse")
    warehouse_connections: int = setting("WAREHOUSE_CONNECTIONS", parsing.whole(1, 100), 4)


@dataclass(frozen=True, kw_only=True)
class MetricsSettings(WorkerSettings):
    """Settings of the application `streams.metrics`; the thresholds override those of the dataset's definition."""

    metrics_app_id: str = setting("METRICS_APP_ID", parsing.name, "millrace-metrics")
    window_s: float = setting("METRICS_WINDOW_S", parsing.number(600, 30 * 86_400), 7_200.0)
    late_s: float = setting("METRICS_LATE_S", parsing.number(60, 30 * 86_400), 3_600.0)
    high_value: float | None = setting("ALERT_HIGH_VALUE", parsing.number(0.01, 1e12), None)
    bulk: int | None = setting("ALERT_BULK", parsing.whole(1, 2**31 - 1), None)
    key_prefix: str | None = setting("METRICS_KEY_PREFIX", parsing.text, None)


@dataclass(frozen=True, kw_only=True)
class SparkSettings(SettingsGroup):
    """Settings of the Spark session that the batch jobs share."""

    jars: Path = setting("SPARK_JARS", parsing.folder)
    master: str = setting("SPARK_MASTER", parsing.text, "local[*]")
    driver_memory: str = setting("SPARK_DRIVER_MEMORY", parsing.memory, "2g")
    driver_host: str = setting("SPARK_DRIVER_HOST", parsing.text, "127.0.0.1")
    shuffle_partitions: int = setting("SPARK_SHUFFLE_PARTITIONS", parsing.whole(1, 10_000), 4)
    java_home: Path | None = setting("JAVA_HOME", parsing.folder, None)
    class_data: bool = setting("SPARK_CLASS_DATA", parsing.flag, True)


@dataclass(frozen=True, kw_only=True)
class LakeSettings(SettingsGroup):
    """Locations of the lake's layers, and the parameters for reading from the source."""

    bronze: str = setting("BRONZE_ROOT", parsing.lake_root, "s3a://bronze")
    silver: str = setting("SILVER_ROOT", parsing.lake_root, "s3a://silver")
    gold: str = setting("GOLD_ROOT", parsing.lake_root, "s3a://gold")
    processed: str = setting("PROCESSED_ROOT", parsing.lake_root, "s3a://processed-data")
    source_epoch: int = setting("SOURCE_EPOCH", parsing.retired_epoch, 0)
    row_max_bytes: int = setting("LAKE_ROW_MAX_BYTES", parsing.whole(2**10, 2**30), ROW_MAX_BYTES)
    window_safety_s: float = setting("WINDOW_SAFETY_S", parsing.number(0, 86_400), 2.0)
    window_overlap_s: float = setting("WINDOW_OVERLAP_S", parsing.number(0, 30 * 86_400), 60.0)


@dataclass(frozen=True, kw_only=True)
class BatchSettings(SettingsGroup):
    """Settings of the commands of `python -m batch`."""

    log_folder: Path = setting("LOG_DIR", parsing.folder, Path("logs"))
    interval_s: float = setting("BATCH_INTERVAL_SECONDS", parsing.number(1, 86_400), 60.0)
