"""The page about the catalogue of topics, from `streams/topics.py`."""

from __future__ import annotations

from config.settings import DeploymentSettings, KafkaSettings
from streams.topics import Direction, TopicSpec, catalogue
from tests.support.reference.markdown import GENERATED, code, page, table

INTRODUCTION = """\
Every topic that must exist before a connector or a worker starts, as `streams/topics.py` declares it: here for the
dataset `{dataset}`, the application id `{app_id}` and `ORDER_PARTITIONS={partitions}`, which are the defaults.
`millrace topics apply` creates the missing ones; workers check the partition counts before they start.

All have `REPLICATION_FACTOR` replicas and one less as `min.insync.replicas`, at least 1: of three
brokers, one may be away."""

CO_PARTITIONED = """\
*Together* means that the topic must have as many partitions as the others marked so: all records of one order are in
the same partition number of these topics, so one worker sees all of them."""

TITLES = {
    Direction.IN: "Read by applications",
    Direction.OUT: "Published for others",
    Direction.INTERNAL: "Internal",
}


def topics_page() -> str:
    """Return the page about all topics of the default dataset."""
    shared, kafka = DeploymentSettings.read({}), KafkaSettings.read({"KAFKA_BOOTSTRAP": "kafka:9092"})
    partitions = kafka.order_partitions
    specs = catalogue(dataset=shared.dataset, app_id=shared.orders_app_id, order_partitions=partitions)
    introduction = INTRODUCTION.format(dataset=shared.dataset, app_id=shared.orders_app_id, partitions=partitions)
    parts = ["# Catalogue of topics", GENERATED, introduction, CO_PARTITIONED]
    for direction, title in TITLES.items():
        rows = [_row(spec) for spec in specs if spec.direction is direction]
        parts += [f"## {title}", table(("topic", "key", "value", "partitions", "written by", "configuration"), rows)]
    return page(*parts, "The fields of the records are described in [Topics](topics.md).")


def _row(spec: TopicSpec) -> tuple[str, ...]:
    together = ", together" if spec.co_partitioned else ""
    config = ", ".join(code(f"{name}={value}") for name, value in spec.config.items())
    return code(spec.name), spec.key, spec.value, f"{spec.partitions}{together}", spec.owner, config
