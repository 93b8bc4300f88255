"""Parts of the page `/` that show the dataset: its connector, its lake, and what was sold."""

from __future__ import annotations

from config.dataset import definition_or_exit, known_datasets
from config.naming import connector_name
from config.results import gold_tables, results_in_redis
from config.settings import RedisSettings, WorkerSettings
from streams.adapters.connect import ConnectClient
from streams.adapters.redis import RedisClient
from streams.model.table_read import READS_DATABASE
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.web.pages import Part
from tables import figures
from tables.views import lake, sales
from tables.views.connector import ConnectorRecords, connector_section
from tables.views.lake import LakeRecords, lake_section
from tables.views.sales import Sales, sales_section


def source_parts(
    app: TransactionalApp, redis: RedisSettings, settings: WorkerSettings, *, figures_prefix: str | None
) -> dict[str, Part]:
    """Return the parts, keyed by the id of the section, and start their services with the application.

    A dataset without `metrics` has no live figures, and so no part that shows what was sold.
    """
    name = connector_name(settings.dataset)
    client = None if settings.connect_url is None else ConnectClient(settings.connect_url, name)
    connector = ConnectorRecords(
        client,
        name,
        lambda: app.stats.behind,
        redis=RedisClient(redis.url, database=READS_DATABASE),
        dataset=settings.dataset,
    )
    definition = definition_or_exit(settings.dataset) if settings.dataset in known_datasets() else None
    gold = gold_tables(definition) if definition is not None else []
    records = LakeRecords(RedisClient(redis.url, database=lake.DATABASE), settings.dataset, gold=gold)
    app.start_with(connector, records)
    parts = {
        "connector": Part(figures=connector.figures, section=connector_section),
        "lake": Part(figures=records.figures, section=lake_section),
    }
    if definition is not None and definition.metrics.orders is not None:
        sold = Sales(
            RedisClient(redis.url, database=figures.DATABASE),
            RedisClient(redis.url, database=sales.RESULTS_DATABASE),
            prefix=figures_prefix or "",
            names=results_in_redis(definition),
        )
        app.start_with(sold)
        parts["sales"] = Part(figures=sold.figures, section=sales_section)
    return parts
