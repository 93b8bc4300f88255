"""The only reader of the environment: every setting, its type, its default and its bounds.

Each group is a frozen dataclass read by `Group.read()`. A missing or wrong setting raises `SettingsError`, which names
every setting at fault in one go. Values marked `secret` are hidden when a group is printed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit


class SettingsError(Exception):
    """Settings are missing or wrong; the message has one line per setting."""


class _Required:
    """Marks a setting that has no default."""


_REQUIRED = _Required()


def _text(raw: str) -> str:
    if not raw.strip():
        raise ValueError("must not be empty")
    return raw.strip()


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        try:
            parts = urlsplit(raw.strip())
            is_good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a wrong port or host; the text of the error would repeat a password
            is_good = False
        if not is_good:
            raise ValueError(f"must be a URL that begins with {' or '.join(s + '://' for s in schemes)}")
        return raw.strip().rstrip("/")

    return parse


def _bootstrap(raw: str) -> str:
    servers = [s.strip() for s in raw.split(",")]
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError("must be host:port, several separated by commas")
    return ",".join(servers)


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            raise ValueError(f"must be a whole number from {lowest} to {highest}") from None
        if not lowest <= value <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return value

    return parse


def _number(lowest: float, highest: float) -> Callable[[str], float]:
    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            raise ValueError(f"must be a number from {lowest:g} to {highest:g}") from None
        if not lowest <= value <= highest:
            raise ValueError(f"must be a number from {lowest:g} to {highest:g}")
        return value

    return parse


def _flag(raw: str) -> bool:
    known = {
        "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False,
    }  # fmt: skip
    if raw.strip().lower() not in known:
        raise ValueError("must be true or false")
    return known[raw.strip().lower()]


def _name(raw: str) -> str:
    if not raw or not all(c.isascii() and (c.isalnum() or c in "._-") for c in raw):
        raise ValueError("may hold letters, digits, '.', '_' and '-' only")
    return raw


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw.strip() not in choices:
            raise ValueError(f"must be {' or '.join(choices)}")
        return raw.strip()

    return parse


def _folder(raw: str) -> Path:
    return Path(raw).expanduser()


def setting(name: str, parse: Callable[[str], Any], default: Any = _REQUIRED, *, secret: bool = False) -> Any:
    """Declare a field that is read from the environment variable `name` (or from the first that is set of `a|b`)."""
    return field(metadata={"names": name.split("|"), "parse": parse, "default": default}, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class SettingsGroup:
    """Settings that are read together."""

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the group from `environment` (the process's own by default).

        Raises:
            SettingsError: one line per setting that is missing or wrong.
        """
        source = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        faults: list[str] = []
        for item in dataclasses.fields(cls):
            names, default = item.metadata["names"], item.metadata["default"]
            name = next((n for n in names if source.get(n, "") != ""), names[0])
            raw = source.get(name, "")
            if raw == "" and default is not _REQUIRED:
                values[item.name] = default
            elif raw == "":
                faults.append(f'{name}: is not set (after `make up`: eval "$(python -m stack env)")')
            else:
                try:
                    values[item.name] = item.metadata["parse"](raw)
                except ValueError as error:
                    faults.append(f"{name}: {error}" + (f", not {raw!r}" if item.repr else ""))
        if faults:
            raise SettingsError("\n".join(faults))
        return cls(**values)


def read_or_exit(*groups: type[Any]) -> list[Any]:
    """Read groups for a program that cannot go on without them: exits with one line per setting at fault."""
    found: list[Any] = []
    faults: list[str] = []
    for group in groups:
        try:
            found.append(group.read())
        except SettingsError as error:
            faults += [line for line in str(error).splitlines() if line not in faults]
    if faults:
        raise SystemExit("cannot start, settings are missing or wrong:\n  " + "\n  ".join(faults))
    return found


@dataclass(frozen=True, kw_only=True)
class KafkaSettings(SettingsGroup):
    """Where Kafka is, and how many partitions the catalogue gives the order topics."""

    bootstrap: str = setting("KAFKA_BOOTSTRAP", _bootstrap)
    order_partitions: int = setting("ORDER_PARTITIONS", _whole(1, 1000), 4)
    replication_factor: int = setting("REPLICATION_FACTOR", _whole(1, 9), 1)


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings(SettingsGroup):
    """The source database of a MySQL or MariaDB dataset, as its owner (schema, loading, simulation, checks)."""

    host: str = setting("MYSQL_HOST", _text)
    port: int = setting("MYSQL_PORT", _whole(1, 65535), 3306)
    user: str = setting("MYSQL_USER", _text)
    password: str = setting("MYSQL_PASSWORD", _text, secret=True)


@dataclass(frozen=True, kw_only=True)
class ConnectSettings(SettingsGroup):
    """Kafka Connect, and the source database and Kafka as *Connect* sees them (they differ between containers).

    The connector's database login is not here: the connector's configuration refers to the variables
    `CONNECTOR_DATABASE_USER` and `CONNECTOR_DATABASE_PASSWORD` of the Connect process.
    """

    url: str = setting("CONNECT_URL", _url("http", "https"))
    database_host: str = setting("CONNECTOR_DATABASE_HOST|MYSQL_HOST", _text)
    database_port: int = setting("CONNECTOR_DATABASE_PORT|MYSQL_PORT", _whole(1, 65535), 3306)
    kafka_bootstrap: str = setting("CONNECTOR_KAFKA_BOOTSTRAP|KAFKA_BOOTSTRAP", _bootstrap)
    database_kind: str = setting("CONNECTOR_DATABASE_KIND", _one_of("mariadb", "mysql"), "mariadb")


@dataclass(frozen=True, kw_only=True)
class RedisSettings(SettingsGroup):
    """Redis, without a database number: 0 holds look-ups, 1 the order cache, 2 the order locks."""

    url: str = setting("REDIS_URL", _url("redis", "rediss"), secret=True)


@dataclass(frozen=True, kw_only=True)
class ObjectStoreSettings(SettingsGroup):
    """MinIO, or any object storage with the S3 interface."""

    endpoint: str = setting("MINIO_ENDPOINT", _url("http", "https"))
    access_key: str = setting("MINIO_ACCESS_KEY", _text, secret=True)
    secret_key: str = setting("MINIO_SECRET_KEY", _text, secret=True)


@dataclass(frozen=True, kw_only=True)
class DeploymentSettings(SettingsGroup):
    """What the tools and the workers have to agree on: the dataset, and the application that completes its orders."""

    dataset: str = setting("DATASET", _name, "project_db")
    orders_app_id: str = setting("ORDERS_APP_ID", _name, "millrace-orders")


@dataclass(frozen=True, kw_only=True)
class DatasetSettings(DeploymentSettings):
    """The tools around a dataset."""

    datasets_folder: Path | None = setting("DATASETS_DIR", _folder, None)


@dataclass(frozen=True, kw_only=True)
class CacheSettings(SettingsGroup):
    """Where the programs of the local servers are kept once they are fetched."""

    folder: Path = setting("MILLRACE_CACHE", _folder, Path("~/.cache/millrace"))


def environment_with(extra: Mapping[str, str], *, only: Collection[str] | None = None) -> dict[str, str]:
    """The environment of a program to start: this process's (or `only` these names of it) with `extra` on top."""
    return {name: value for name, value in os.environ.items() if only is None or name in only} | dict(extra)


def environment_over(defaults: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with `defaults` for what it does not set."""
    return dict(defaults) | {name: value for name, value in os.environ.items() if value != ""}


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(DeploymentSettings):
    """What the workers of all applications have in common."""

    state_dir: str = setting("STATE_DIR", _text, ".state")
    source_epoch: int = setting("SOURCE_EPOCH", _whole(0, 2**31 - 1), 0)
    batch_max_records: int = setting("BATCH_MAX_RECORDS", _whole(1, 100_000), 4_000)
    waiting_max_bytes: int = setting("WAITING_MAX_BYTES", _whole(1_000, 2**31 - 1), 8 * 1024 * 1024)
    session_timeout_s: float = setting("SESSION_TIMEOUT_S", _number(1, 300), 6.0)
    transaction_timeout_ms: int = setting("TRANSACTION_TIMEOUT_MS", _whole(1_000, 900_000), 10_000)
    web_host: str = setting("WEB_HOST", _text, "127.0.0.1")
    web_advertised_host: str = setting("WEB_ADVERTISED_HOST|WEB_HOST", _text, "127.0.0.1")
    web_tables: bool = setting("WEB_TABLES", _flag, False)


@dataclass(frozen=True, kw_only=True)
class OrdersSettings(WorkerSettings):
    """The application `streams.orders`."""

    payment_method_wait_s: float = setting("PAYMENT_METHOD_WAIT_S", _number(0, 60), 3.0)
    standby_replicas: int = setting("STANDBY_REPLICAS", _whole(0, 10), 0)
    guard: bool = setting("GUARD", _flag, True)
    guard_when_away: str = setting("GUARD_WHEN_AWAY", _one_of("wait", "go_on"), "wait")
    lock_retention_s: int = setting("LOCK_RETENTION_S", _whole(1, 10 * 365 * 86_400), 7 * 86_400)
    order_cache: bool = setting("ORDER_CACHE", _flag, True)
    order_cache_ttl_s: int = setting("ORDER_CACHE_TTL_S", _whole(1, 86_400), 120)
    order_log: bool = setting("ORDER_LOG", _flag, False)
    incomplete_after_s: float = setting("INCOMPLETE_AFTER_S", _number(0, 365 * 86_400), 3_600.0)
    order_retention_s: float = setting("ORDER_RETENTION_S", _number(0, 100 * 365 * 86_400), 0.0)


@dataclass(frozen=True, kw_only=True)
class LookupsSettings(WorkerSettings):
    """The application `streams.lookups`."""

    lookups_app_id: str = setting("LOOKUPS_APP_ID", _name, "millrace-lookups")
