"""The applications of a dataset: which topics each of them reads, and where it keeps its offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit

from faust.types import TP

from config.database_settings import WarehouseDatabaseSettings
from config.definition import Definition
from config.errors import UsageError
from config.settings import (
    ArchiveSettings,
    DatasetSettings,
    LookupsSettings,
    MetricsSettings,
    ObjectStoreSettings,
    RedisSettings,
    WarehouseSettings,
)
from ops.context import definition_of
from ops.skip.positions import ArchivePosition, OrdersPosition, Position, SinkPosition, StoppedApplication
from streams.adapters.object_store import MinioBucket
from streams.adapters.postgres import DatabaseClient
from streams.adapters.redis import RedisClient
from streams.model.warehouse import warehouse_tables
from streams.runtime.faust.app import TransactionalApp
from streams.topics import DEAD_LETTERS, change_topic, topic_under
from tables import figures, lookups
from tables.figures import FigureSink
from tables.lookups import LookupSink
from tables.warehouse.committer import Load, WarehouseSink

Environment = Mapping[str, str]
Open = Callable[[StoppedApplication, TP, Environment], Position]


def position_of(app: StoppedApplication, tp: TP, environment: Environment) -> Position:
    """Return the place of an application's offset of a partition.

    Raises:
        UsageError: there is no application of this id, or it does not read this topic.
    """
    known = _applications(environment)
    if app.id not in known:
        raise UsageError(f"--app: unknown application {app.id!r}: use one of {', '.join(known)}")
    topics, open_position = known[app.id]
    if tp.topic not in topics:
        raise UsageError(f"--topic: {app.id} does not read topic {tp.topic!r}: use one of {', '.join(topics)}")
    return open_position(app, tp, environment)


def _applications(environment: Environment) -> dict[str, tuple[list[str], Open]]:
    """Return the topics of each application, and what opens its position, by the application's id."""
    dataset = DatasetSettings.read(environment)
    definition = definition_of(dataset.dataset)
    changes = [topic_under(definition.topic_prefix, table.name) for table in definition.tables]
    in_warehouse = [
        topic_under(definition.topic_prefix, table.source.name) for table in warehouse_tables(definition.tables)
    ]
    found: dict[str, tuple[list[str], Open]] = {
        ArchiveSettings.read(environment).archive_app_id: (changes, _archive),
        WarehouseSettings.read(environment).warehouse_app_id: ([*in_warehouse, DEAD_LETTERS], _warehouse),
        MetricsSettings.read(environment).metrics_app_id: (changes, _figures),
    }
    if definition.completes_orders:
        of_orders, of_lookups = ("orders", "order_details"), ("customers", "payment_method")
        lookups_id = LookupsSettings.read(environment).lookups_app_id
        found[dataset.orders_app_id] = ([change_topic(dataset.dataset, name) for name in of_orders], _orders)
        found[lookups_id] = ([change_topic(dataset.dataset, name) for name in of_lookups], _lookups)
    return found


def _orders(app: StoppedApplication, tp: TP, environment: Environment) -> Position:
    return OrdersPosition(app, tp)


def _lookups(app: StoppedApplication, tp: TP, environment: Environment) -> Position:
    redis = RedisClient(RedisSettings.read(environment).url, database=lookups.DATABASE)
    sink = LookupSink(redis, cast(TransactionalApp, app))
    return SinkPosition(tp.topic, sink, sink.committers(tp.topic)(tp.partition))


def _figures(app: StoppedApplication, tp: TP, environment: Environment) -> Position:
    settings, definition = MetricsSettings.read(environment), _definition(environment)
    redis = RedisClient(RedisSettings.read(environment).url, database=figures.DATABASE)
    names = {"dataset": definition.name, "prefix": settings.key_prefix or ""}
    sink = FigureSink(redis, cast(TransactionalApp, app), window_s=settings.window_s, bulk=0, **names)
    table = next(each.name for each in definition.tables if topic_under(definition.topic_prefix, each.name) == tp.topic)
    return SinkPosition(tp.topic, sink, sink.committers(tp.topic, table)(tp.partition))


def _warehouse(app: StoppedApplication, tp: TP, environment: Environment) -> Position:
    client = DatabaseClient(WarehouseDatabaseSettings.read(environment).connection, connections=1)
    sink = WarehouseSink(client, cast(TransactionalApp, app), schema=_definition(environment).name)
    nothing = Load("", lambda rows: [])  # a skipped record writes no row
    return SinkPosition(tp.topic, sink, sink.committers(tp.topic, nothing)(tp.partition))


def _archive(app: StoppedApplication, tp: TP, environment: Environment) -> Position:
    objects, root = ObjectStoreSettings.read(environment), urlsplit(ArchiveSettings.read(environment).bronze)
    bucket = MinioBucket(
        objects.endpoint,
        root.netloc,
        access_key=objects.access_key,
        secret_key=objects.secret_key,
        ssl_context=objects.ssl_context(),
    )
    return ArchivePosition(app, tp, bucket, f"{root.path.strip('/')}/".lstrip("/"))


def _definition(environment: Environment) -> Definition:
    return definition_of(DatasetSettings.read(environment).dataset)
