"""The command `millrace connector watch`: start failed tasks again, sweep after each snapshot, count what is read."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from config.definition import Definition
from config.engines import engine_of
from config.settings import ConnectSettings, KafkaSettings, RedisSettings
from ops.connector.exposition import WatchCollector
from ops.connector.first_reads import FirstReads
from ops.connector.postgres import reader_asked, slot_reader
from ops.connector.read_progress import ReadProgress, Servers
from ops.connector.rest import LITTLE, ConnectClient
from ops.connector.settings import connector_name
from ops.connector.source_columns import SourceComparison
from ops.connector.sweep import has_comparable_key, sweep
from ops.connector.watch import ConnectorWatch
from ops.context import settings_environment
from ops.signals import stopped_by_signals
from stack.errors import StackError
from streams.adapters.exposition import exposed
from streams.adapters.redis import RedisConsole
from streams.model.table_read import READS_DATABASE

_LOOK_SECONDS: Final = 2.0


def run(arguments: argparse.Namespace, definition: Definition, settings: ConnectSettings) -> int:
    """Look at the connector every few seconds until SIGTERM or SIGINT ends the command."""
    database = engine_of(definition).login(settings_environment(arguments))
    tables = _swept_tables(definition)
    kafka = KafkaSettings.read(settings_environment(arguments))
    with (
        stopped_by_signals() as stop,
        ConnectClient(settings.url, LITTLE) as connect,
        ConnectClient(settings.url, LITTLE) as other,  # for another thread
        closing(Servers(definition, database, kafka.bootstrap, status_topic=settings.status_topic)) as servers,
    ):
        late = FirstReads(definition, database, kafka, other)
        watch = ConnectorWatch(
            connect,
            connector_name(definition.name),
            sweep=lambda: sweep(database, kafka.bootstrap, definition, only=tables),
            late=late if late.compared else None,
            say=_print_now,
            reader=reader_asked(definition, settings_environment(arguments), connect),
        )
        slot = slot_reader(definition, settings_environment(arguments))
        recorder = _recorder(settings_environment(arguments))
        progress = ReadProgress(definition, connect, servers, recorder, say=_print_now)
        source = SourceComparison(definition, database, _print_now)
        collector = WatchCollector(
            connector_name(definition.name), watch, slot, lambda: progress.tables, lambda: source.found
        )
        with exposed(arguments.metrics, collector, error=StackError):
            while not stop.is_set():
                watch.look()
                progress.look()
                source.look()
                stop.wait(_LOOK_SECONDS)
        watch.close()
    return 0


def _print_now(line: str) -> None:
    print(line, flush=True)


def _recorder(environment: Mapping[str, str]) -> RedisConsole | None:
    """Return Redis, where the workers' page finds how far reads are; None if the watch was not told where it is."""
    if not environment.get("REDIS_URL"):
        return None
    return RedisConsole(RedisSettings.read(environment).url, database=READS_DATABASE)


def _swept_tables(definition: Definition) -> list[str]:
    """Return the tables that the watch sweeps, and print why it leaves out others."""
    tables = [table.name for table in definition.tables if has_comparable_key(table)]
    for table in definition.tables:
        if table.name not in tables:
            print(f"{table.name}: is not swept, as its key has values that can be written in several ways", flush=True)
    return tables
