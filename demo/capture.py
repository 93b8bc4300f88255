"""The connector of a demo's dataset: registered as `millrace connector apply` does it, on either engine."""

from __future__ import annotations

from collections.abc import Mapping

from config.definition import Definition
from config.engines import engine_of
from config.settings import ConnectSettings
from ops.connector.apply import apply_connector, wait_snapshot
from ops.connector.mysql import check_source
from ops.connector.postgres import PostgresSource
from ops.connector.reads import Reads
from ops.connector.rest import ConnectClient
from ops.connector.settings import connector_name, connector_settings


class Capture:
    """The capture of a dataset's changes by Debezium, on running servers.

    Args:
        environment: settings with which programs reach the servers.
    """

    def __init__(self, definition: Definition, environment: Mapping[str, str]) -> None:
        self._definition = definition
        self._environment = environment
        self._settings = ConnectSettings.read(environment)
        self._name = connector_name(definition.name)

    def begin(self) -> None:
        """Register the connector, and wait for the end of its snapshot; the topics exist.

        Raises:
            StackError: the source lacks what the connector needs, or the connector does not run.
        """
        with ConnectClient(self._settings.url) as connect:
            if self._definition.engine == "postgres":
                source = PostgresSource(self._definition, self._environment, connect)
                before = source.prepare(0, lambda line: None)
                self._apply(connect)
                source.await_arrival(0, before)
            else:
                check_source(self._definition, self._environment)
                self._reads(connect).prepare()
                self._apply(connect)
            wait_snapshot(connect, self._name)

    def await_published(self) -> None:
        """Wait until all that the database has committed so far is published.

        Raises:
            StackError: the connector failed, or it takes too long.
        """
        with ConnectClient(self._settings.url) as connect:
            if self._definition.engine == "postgres":
                PostgresSource(self._definition, self._environment, connect).await_published(0)
            else:
                reads = self._reads(connect)
                reads.await_place(reads.log_end())

    def _apply(self, connect: ConnectClient) -> None:
        apply_connector(connect, self._name, connector_settings(self._definition, self._settings))

    def _reads(self, connect: ConnectClient) -> Reads:
        return Reads(self._definition, engine_of(self._definition).login(self._environment), connect)
