"""The application `streams.warehouse`: keeps the tables of a star schema in PostgreSQL current with the source.

    {topics}.{table} ─┐
    {topics}.{table} ─┼─ agent warehouse ─ {dataset}.dim_…, {dataset}.fact_…
    …                 ┘                  └ dead_letters
    dead_letters      ── agent warehouse-letters ─ {dataset}.dlq_events

The tables are those that the dataset's definition names with `warehouse`; `millrace warehouse apply` creates them. They
have the newest version of each row, also of deleted ones, which are marked. Each change is applied exactly once, and
changes that arrive again, or in another order, lead to the same rows.

Run: `faust -A streams.warehouse worker --web-port 6072`. Web pages: `/stats/`, `/metrics`.
"""

from __future__ import annotations

import sys
from functools import partial

from agents.raw_changes import submitting
from agents.warehouse import LetterProcessor, WarehouseProcessor, load_letter, loader
from config.database_settings import WarehouseDatabaseSettings
from config.dataset import definition_or_exit
from config.errors import UsageError
from config.settings import KafkaSettings, WarehouseSettings
from config.settings_group import read_or_exit
from streams.adapters.postgres import DatabaseClient
from streams.model.letter import letter_arrays
from streams.model.warehouse import warehouse_tables
from streams.runtime.web.pages import declare_pages
from streams.topics import DEAD_LETTERS, topic_under
from streams.worker import transactional_app
from tables.warehouse import statements
from tables.warehouse.committer import Load, WarehouseSink
from tables.warehouse.drift import ColumnDrift

kafka, database, settings = read_or_exit(KafkaSettings, WarehouseDatabaseSettings, WarehouseSettings)
definition = definition_or_exit(settings.dataset)
tables = warehouse_tables(definition.tables)
if not tables:
    print(f"cannot start: no table of dataset {definition.name} has `warehouse` in its definition", file=sys.stderr)
    raise SystemExit(UsageError.exit_code)

app = transactional_app(settings.warehouse_app_id, kafka, settings)
sink = WarehouseSink(
    DatabaseClient(database.connection, connections=settings.warehouse_connections),
    app,
    schema=definition.name,
)

# Input: the topics are partitioned independently, so each one has its own pipeline.
loads, drift = [], ColumnDrift()
for table in tables:
    topic = app.raw_topic(topic_under(definition.topic_prefix, table.source.name))
    load = Load(statements.upsert(sink.schema, table), partial(statements.arrays, table))
    processor = WarehouseProcessor(table, settings.warehouse_app_id, drift)
    committers = sink.committers(topic.get_topic_name(), load, processor.dead_letter)
    app.pipeline(table.name, sources=[topic], processor=processor, new_committer=committers)
    loads.append(app.agent(topic, name=f"warehouse-{table.name}")(submitting(loader(table))))

letters_topic = app.raw_topic(DEAD_LETTERS)
persons = {topic_under(definition.topic_prefix, each.source.name): each.name for each in tables if each.has_persons}
letters_load = Load(statements.insert_letters(sink.schema, persons), letter_arrays)
app.pipeline(
    "dlq_events",
    sources=[letters_topic],
    processor=LetterProcessor(),
    new_committer=sink.committers(DEAD_LETTERS, letters_load),
)
letters = app.agent(letters_topic, name="warehouse-letters")(submitting(load_letter))

app.start_with(sink)
declare_pages(
    app,
    counted={"warehouse": sink},
    servers={"warehouse": "PostgreSQL"},
    figures=lambda: {**sink.newest.figures(), **drift.figures()},
    collectors=[sink.newest, drift],
)
