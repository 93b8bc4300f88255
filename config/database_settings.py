"""Settings of the databases: the sources and the warehouse. `config/settings.py` has all others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from config import parsing
from config import tls as encryption
from config.settings_group import SettingsGroup, setting


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings(SettingsGroup):
    """Address of the MySQL or MariaDB source database, and the login of its owner."""

    engine: ClassVar[str] = "mysql"

    host: str = setting("MYSQL_HOST", parsing.text)
    port: int = setting("MYSQL_PORT", parsing.whole(1, 65535), 3306)
    user: str = setting("MYSQL_USER", parsing.text)
    password: str = setting("MYSQL_PASSWORD", parsing.text, secret=True)
    tls: str = setting("MYSQL_TLS", parsing.one_of(*encryption.MYSQL), "off")
    ca_file: Path | None = setting("MYSQL_CA_FILE", parsing.file, None)

    def __post_init__(self) -> None:
        encryption.check_mysql(self.tls, self.ca_file)


@dataclass(frozen=True, kw_only=True)
class PostgresSettings(SettingsGroup):
    """Address of the PostgreSQL source database, and the login of its owner."""

    engine: ClassVar[str] = "postgres"

    host: str = setting("PGHOST", parsing.text)
    port: int = setting("PGPORT", parsing.whole(1, 65535), 5432)
    user: str = setting("PGUSER", parsing.text)
    password: str = setting("PGPASSWORD", parsing.text, secret=True)
    tls: str = setting("PGSSLMODE", parsing.one_of(*encryption.POSTGRES), "prefer")
    ca_file: Path | None = setting("PGSSLROOTCERT", parsing.file, None)

    def __post_init__(self) -> None:
        encryption.check_postgres(self.tls, self.ca_file)


@dataclass(frozen=True, kw_only=True)
class WarehouseDatabaseSettings(SettingsGroup):
    """Address of the warehouse, a PostgreSQL database, and the login of its owner.

    With a host of its own it has its own port and login too: the source's login is not sent to another server.
    """

    engine: ClassVar[str] = "postgres"

    host: str = setting("WAREHOUSE_HOST|PGHOST", parsing.text)
    port: int = setting("WAREHOUSE_PORT|PGPORT", parsing.whole(1, 65535), 5432, unless="WAREHOUSE_HOST")
    user: str = setting("WAREHOUSE_USER|PGUSER", parsing.text, unless="WAREHOUSE_HOST")
    password: str = setting("WAREHOUSE_PASSWORD|PGPASSWORD", parsing.text, secret=True, unless="WAREHOUSE_HOST")
    database: str = setting("WAREHOUSE_DATABASE", parsing.name, "warehouse")
    tls: str = setting("WAREHOUSE_SSLMODE|PGSSLMODE", parsing.one_of(*encryption.POSTGRES), "prefer")
    ca_file: Path | None = setting("WAREHOUSE_SSLROOTCERT|PGSSLROOTCERT", parsing.file, None)

    def __post_init__(self) -> None:
        encryption.check_postgres(self.tls, self.ca_file, "WAREHOUSE_")

    @property
    def connection(self) -> dict[str, str | int]:
        """The arguments of a connection, as libpq names them."""
        address: dict[str, str | int] = {"host": self.host, "port": self.port, "dbname": self.database}
        login = {"user": self.user, "password": self.password}
        return address | login | encryption.libpq_options(self.tls, self.ca_file)
