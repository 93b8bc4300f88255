"""The local servers: one module per server, with its programs, configuration, start command and health check."""

from stack.servers.base import Command, Server, UnhealthyError
from stack.servers.connect import Connect
from stack.servers.kafka import Kafka
from stack.servers.mariadb import MariaDB
from stack.servers.minio import MinIO
from stack.servers.postgres import Postgres
from stack.servers.redis import Redis

SERVERS: dict[str, Server] = {
    server.name: server for server in (Kafka(), Connect(), MariaDB(), Postgres(), Redis(), MinIO())
}

SOURCES: dict[str, str] = {"mysql": "mariadb", "postgres": "postgres"}
"""The server of each engine of a dataset's source."""


def servers_for(engine: str) -> list[str]:
    """Return the servers that a dataset of this engine needs: all but the source databases of other engines."""
    return [name for name in SERVERS if name not in SOURCES.values() or name == SOURCES[engine]]


__all__ = [
    "SERVERS",
    "Command",
    "Connect",
    "Kafka",
    "MariaDB",
    "MinIO",
    "Postgres",
    "Redis",
    "Server",
    "UnhealthyError",
    "servers_for",
]
