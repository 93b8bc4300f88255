"""The application `streams.archive`: archives every raw record of the dataset's change topics in Parquet objects.

    {topics}.{table} ─┐
    {topics}.{table} ─┼─ agent archive ─ {BRONZE_ROOT}/changes/{topic}/{partition}/{start}.parquet
    …                 ┘

The topics are those of all tables in the dataset's definition; `topics` is the prefix that it gives their names.

Each record is archived exactly once and unchanged, in the order of its partition, even if it cannot be decoded. The
`batch` jobs load the bronze layer of the data lake from the archive. An object is written when enough bytes are
waiting, or when a record has waited long enough.

Run: `faust -A streams.archive worker --web-port 6071`. Web pages: `/stats/`, `/metrics`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from agents.archive import ArchiveProcessor
from agents.archive import archive as archive_agent
from config.dataset import definition_or_exit
from config.settings import ArchiveSettings, KafkaSettings, ObjectStoreSettings
from config.settings_group import read_or_exit
from streams.adapters.object_store import MinioBucket
from streams.runtime.web.pages import declare_pages
from streams.topics import Direction, catalogue_of
from streams.worker import transactional_app
from tables.archive.committer import ArchiveSink
from tables.views.archive import WaitingCollector

kafka, objects, settings = read_or_exit(KafkaSettings, ObjectStoreSettings, ArchiveSettings)
definition = definition_or_exit(settings.dataset)
root = urlsplit(settings.bronze)

app = transactional_app(settings.archive_app_id, kafka, settings)
sink = ArchiveSink(
    MinioBucket(
        objects.endpoint,
        root.netloc,
        access_key=objects.access_key,
        secret_key=objects.secret_key,
        ssl_context=objects.ssl_context(),
    ),
    app,
    prefix=f"{root.path.strip('/')}/".lstrip("/"),
    flush_bytes=settings.archive_flush_bytes,
    flush_s=settings.archive_flush_s,
)
processor = ArchiveProcessor()

# Input: the topics are partitioned independently, so each one has its own pipeline.
topics = [
    app.raw_topic(spec.name)
    for spec in catalogue_of(definition, app_id=settings.orders_app_id, order_partitions=kafka.order_partitions)
    if spec.direction is Direction.IN
]
for topic in topics:
    name = topic.get_topic_name()
    app.pipeline(name.rpartition(".")[2], sources=[topic], processor=processor, new_committer=sink.committers(name))

app.start_with(sink)
archivers = [app.agent(topic, name=f"archive-{topic.get_topic_name()}")(archive_agent) for topic in topics]
declare_pages(
    app,
    counted={"archive": sink},
    servers={"archive": "the object storage"},
    figures=lambda: {"waiting": sink.waiting()},
    collectors=[WaitingCollector(sink.waiting)],
)
