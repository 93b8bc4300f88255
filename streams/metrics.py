"""The application `streams.metrics`: live figures of a dataset in Redis, for dashboards.

    {topics}.{table} ─┐                   ┌ cdc:stats:{table}
    {topics}.{table} ─┼─ agent metrics ───┼ realtime:metrics:orders|countries:{minute}, realtime:metrics:velocity
    …                 ┘                   ├ alerts:high_value, alerts:bulk
                                          └ dead_letters

The topics are those of all tables in the dataset's definition; its `metrics` says which columns the figures of orders
are from. Each change is counted once. What a snapshot reads raises neither figures nor alerts. `tables/figures.py`
describes the keys.

Run: `faust -A streams.metrics worker --web-port 6073`. Web pages: `/stats/`, `/metrics`.
"""

from __future__ import annotations

from agents.metrics import MetricsProcessor, counter_of
from agents.raw_changes import submitting
from config.dataset import definition_or_exit
from config.definition import Table
from config.settings import KafkaSettings, MetricsSettings, RedisSettings
from config.settings_group import read_or_exit
from streams.adapters.redis import RedisClient
from streams.model.figures import FigureOf, customer_figures, item_figures, order_figures, plain_figure
from streams.runtime.web.pages import declare_pages
from streams.source_parts import source_parts
from streams.topics import topic_under
from streams.worker import transactional_app
from tables import figures
from tables.figures import FigureSink

kafka, redis, settings = read_or_exit(KafkaSettings, RedisSettings, MetricsSettings)
definition = definition_or_exit(settings.dataset)
metrics = definition.metrics
high_value = settings.high_value if settings.high_value is not None else metrics.alerts.high_value
late_s = min(settings.late_s, settings.window_s)

app = transactional_app(settings.metrics_app_id, kafka, settings)
sink = FigureSink(
    RedisClient(redis.url, database=figures.DATABASE),
    app,
    window_s=settings.window_s,
    bulk=settings.bulk or metrics.alerts.bulk or 0,
    dataset=definition.name,
    prefix=settings.key_prefix or "",
)
processor = MetricsProcessor(settings.metrics_app_id)


def figures_of(table: Table) -> FigureOf:
    """Return the function that says what a change of a table adds."""
    orders, customers, items = metrics.orders, metrics.customers, metrics.items
    if orders is not None and table.name == orders.table:
        high_cents = None if high_value is None else round(high_value * 100)
        return order_figures(orders, key=table.key[0], high_cents=high_cents, late_s=late_s)
    if customers is not None and table.name == customers.table:
        return customer_figures(table.key[0], customers.country)
    if items is not None and table.name == items.table:
        return item_figures(items.order, items.quantity, late_s=late_s)
    return plain_figure


# Input: the topics are partitioned independently, so each one has its own pipeline.
agents = []
for table in definition.tables:
    topic = app.raw_topic(topic_under(definition.topic_prefix, table.name))
    has_orders = metrics.orders is not None and table.name == metrics.orders.table
    committers = sink.committers(topic.get_topic_name(), table.name, has_orders=has_orders)
    app.pipeline(table.name, sources=[topic], processor=processor, new_committer=committers)
    fold = counter_of(table.topic_key or table.key[0], figures_of(table))
    agents.append(app.agent(topic, name=f"metrics-{table.name}")(submitting(fold)))

app.start_with(sink)
declare_pages(
    app,
    counted={"metrics": sink},
    figures=sink.newest.figures,
    collectors=[sink.newest],
    parts=source_parts(app, redis, settings, figures_prefix=settings.key_prefix),
)
