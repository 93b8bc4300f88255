"""The network between workers, connector and servers: a proxy in front of each server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from stack.ports import HOST
from tests.faults.kafka_proxy import KafkaProxy
from tests.faults.tcp_proxy import TcpProxy


@dataclass(frozen=True)
class Network:
    """Proxies for clients that are to meet faults of the network."""

    kafka: KafkaProxy
    redis: TcpProxy
    database: TcpProxy

    @classmethod
    @contextmanager
    def opened(cls, ports: Mapping[str, int], *, kafka_port: int) -> Iterator[Self]:
        """Open the proxies for servers with these ports; the broker has a port of its own for those that use them."""
        with ExitStack() as stack:
            kafka = stack.enter_context(KafkaProxy(kafka_port))
            redis, database = (stack.enter_context(TcpProxy(ports[name])) for name in ("redis", "mariadb"))
            yield cls(kafka, redis, database)

    def workers(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return settings with which workers reach Kafka and Redis through the proxies."""
        url = urlsplit(environment["REDIS_URL"])
        login = url.netloc.rpartition("@")[0]
        redis = url._replace(netloc=f"{login}@{self.redis.address}" if login else self.redis.address)
        return {"KAFKA_BOOTSTRAP": self.kafka.address, "REDIS_URL": redis.geturl()}

    def connector(self) -> dict[str, str]:
        """Return settings with which the connector reaches the database through the proxy."""
        return {"database.hostname": HOST, "database.port": str(self.database.port)}

    def heal(self) -> None:
        """Make the network well again."""
        for proxy in (self.kafka, self.redis, self.database):
            proxy.heal()
