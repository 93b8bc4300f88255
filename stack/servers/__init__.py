"""The local servers: one module per server, with its programs, configuration, start command and health check."""

from stack.servers.base import Command, Server, UnhealthyError
from stack.servers.connect import Connect
from stack.servers.kafka import Kafka
from stack.servers.mariadb import MariaDB
from stack.servers.minio import MinIO
from stack.servers.redis import Redis

SERVERS: dict[str, Server] = {server.name: server for server in (Kafka(), Connect(), MariaDB(), Redis(), MinIO())}

__all__ = ["SERVERS", "Command", "Connect", "Kafka", "MariaDB", "MinIO", "Redis", "Server", "UnhealthyError"]
