"""Kafka Connect: one worker in distributed mode, which production uses and exactly-once sources require."""

from __future__ import annotations

from typing import ClassVar

import requests

from stack.artifacts.java import fetch_java, plugin_path
from stack.job import Job
from stack.ports import HOST
from stack.prerequisites import Prerequisite
from stack.servers.base import Command, Server, UnhealthyError
from stack.servers.jvm import java_command, java_prerequisites, properties
from stack.servers.mariadb import CONNECTOR_USER
from stack.servers.postgres import CONNECTOR_USER as POSTGRES_CONNECTOR_USER
from stack.site import Site

_ANSWER_SECONDS = 3.0


class Connect(Server):
    """The Kafka Connect worker."""

    name: ClassVar[str] = "connect"
    port_names: ClassVar[tuple[str, ...]] = ("connect",)
    needs: ClassVar[tuple[str, ...]] = ("kafka",)

    def prerequisites(self, site: Site) -> list[Prerequisite]:
        """Return Java, and also Maven while the jars are not in the cache."""
        return java_prerequisites(site)

    def fetch(self, site: Site, job: Job) -> None:
        """Download the jars and connector plugins if they are missing."""
        fetch_java(site.cache, job)

    def prepare(self, site: Site, job: Job) -> None:
        """Write the worker's settings file."""
        site.write_secret("connect.properties", properties(worker_settings(site)))

    def command(self, site: Site) -> Command:
        """Return the start command; its environment contains the database logins that connector settings refer to."""
        options = ["-Xms128m", "-Xmx768m", "-XX:+UseSerialGC"]
        main = ["org.apache.kafka.connect.cli.ConnectDistributed", str(site.conf("connect.properties"))]
        login = {
            "CONNECTOR_DATABASE_USER": CONNECTOR_USER,
            "CONNECTOR_DATABASE_PASSWORD": site.credentials.connector_password,
            "CONNECTOR_PG_USER": POSTGRES_CONNECTOR_USER,
            "CONNECTOR_PG_PASSWORD": site.credentials.connector_password,
        }
        return Command(arguments=java_command(site, *options, main=main), environment=login)

    def check(self, site: Site) -> None:
        """Query the worker's health endpoint, which also checks its group and internal topics."""
        try:
            answer = requests.get(f"http://{site.address('connect')}/health", timeout=_ANSWER_SECONDS)
        except requests.ConnectionError:
            raise UnhealthyError(f"nothing listens on port {site.ports['connect']}") from None
        except requests.Timeout:
            raise UnhealthyError(f"no answer within {_ANSWER_SECONDS:g} s") from None
        if answer.status_code != requests.codes.ok:
            raise UnhealthyError(f"not ready: {answer.text.strip()[:200]}")

    def environment(self, site: Site) -> dict[str, str]:
        """Return the URL of Connect's REST API."""
        return {"CONNECT_URL": f"http://{site.address('connect')}"}


def worker_settings(site: Site) -> dict[str, str]:
    """Build the settings of the Connect worker."""
    json_converter = "org.apache.kafka.connect.json.JsonConverter"
    return {
        "bootstrap.servers": site.address("kafka"),
        "group.id": "millrace-connect",
        "listeners": f"http://{site.address('connect')}",
        "rest.advertised.host.name": HOST,
        "rest.advertised.port": str(site.ports["connect"]),
        "exactly.once.source.support": "enabled",
        "plugin.path": plugin_path(site.cache),
        # The default, which scans every class of every plugin, takes ten seconds longer.
        "plugin.discovery": "service_load",
        "config.storage.topic": "millrace-connect-configs",
        "config.storage.replication.factor": "1",
        "offset.storage.topic": "millrace-connect-offsets",
        "offset.storage.replication.factor": "1",
        "offset.storage.partitions": "1",
        "status.storage.topic": "millrace-connect-status",
        "status.storage.replication.factor": "1",
        "status.storage.partitions": "1",
        "scheduled.rebalance.max.delay.ms": "0",
        # The worker starts together with the broker, so it should retry the connection often.
        "reconnect.backoff.max.ms": "200",
        "key.converter": json_converter,
        "value.converter": json_converter,
        "config.providers": "env",
        "config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
        # Anyone who can write connector settings can read variables through them, so only these are exposed.
        "config.providers.env.param.allowlist.pattern": "CONNECTOR_(DATABASE|PG|KAFKA)_.*",
    }
