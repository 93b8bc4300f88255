"""Catalogue of all Kafka topics, and the only place that defines their names.

A dataset's connector writes the change topics; the application `streams.orders` writes the order topics. All records of
one order have the same partition number in `orders`, in `order_details`, in the state's changelog and in the output
topics, so these topics must have the same partition count (`co_partitioned`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol


class Direction(StrEnum):
    """Whether an application reads a topic, publishes it for others, or uses it internally."""

    IN = "in"
    OUT = "out"
    INTERNAL = "internal"


@dataclass(frozen=True, kw_only=True)
class TopicSpec:
    """A topic, with the properties that it must have in Kafka."""

    name: str
    key: str
    value: str
    partitions: int
    direction: Direction
    owner: str
    co_partitioned: bool = False
    config: Mapping[str, str] = field(default_factory=dict)


KEEP_FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1"}
# A dead letter is a whole rejected record plus headers, so its limit must exceed that of every source record.
LARGE_RECORDS = {"max.message.bytes": str(16 * 1024 * 1024)}
# For rows with megabytes of text, which an update has twice. Less than LARGE_RECORDS, as each may become a dead letter.
LARGE_CHANGES = {"max.message.bytes": str(12 * 1024 * 1024)}
CHANGELOG_DELETE_RETENTION_S = 7 * 86_400
"""How long a changelog retains tombstones; a worker that was stopped for longer restores its whole state."""
COMPACT = {
    "cleanup.policy": "compact",
    "delete.retention.ms": str(CHANGELOG_DELETE_RETENTION_S * 1000),
    **LARGE_RECORDS,
}


MIN_INSYNC_REPLICAS = "min.insync.replicas"


def topic_config(spec: TopicSpec, replication_factor: int) -> dict[str, str]:
    """Return the configuration that a topic must have in Kafka if each of its partitions has so many replicas.

    A write is acknowledged when `min.insync.replicas` brokers have it. Kafka's default is 1, so that a record could be
    lost with a single broker however many replicas there are. One broker less than there are replicas may be away.
    """
    return {**spec.config, MIN_INSYNC_REPLICAS: str(max(1, replication_factor - 1))}


class Source(Protocol):
    """What the catalogue needs of a dataset's definition (`config.definition.Definition`)."""

    @property
    def name(self) -> str: ...
    @property
    def topic_prefix(self) -> str: ...
    @property
    def tables(self) -> Sequence[SourceTable]: ...
    @property
    def completes_orders(self) -> bool: ...


class SourceTable(Protocol):
    """What the catalogue needs of a table."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> Sequence[str]: ...
    @property
    def topic_key(self) -> str | None: ...


def change_topic(dataset: str, table: str) -> str:
    """Return the name of the topic that contains the changes of one table of a dataset that completes orders."""
    return topic_under(f"mysql.{dataset}", table)


def topic_under(prefix: str, table: str) -> str:
    """Return the name of the topic that contains the changes of one table; a dataset's topics share the prefix."""
    return f"{prefix}.{table}"


ORDER_FINAL = "order_final"
ORDER_AMENDED = "order_amended"
ORDER_INCOMPLETE = "order_incomplete"
DEAD_LETTERS = "dead_letters"
SOURCE_EPOCHS = "source_epochs"
SOURCE_SIGNALS = "source_signals"
REPLAYED_FROM_HEADER = "replayed_from"
"""Header of a record that was replayed from a dead letter; contains the letter's position."""

SWEPT_HEADER = "swept"
"""Header of a deletion that a sweep appended."""

REPAIRED_HEADER = "repaired"
"""Header of a record that a repair appended."""

APPENDED_HEADERS = frozenset({REPLAYED_FROM_HEADER, SWEPT_HEADER, REPAIRED_HEADER})
"""Headers of records that an operator's command appended to a source topic, at the place of an older change."""

LEFT_OUT_HEADER = "left_out"
"""Header of a dead letter whose value was left out because it is too large; contains the value's size in bytes."""

KEY_LEFT_OUT_HEADER = "key_left_out"
"""Header of a dead letter whose key was left out because it is too large; contains the key's size in bytes, or
`SIZE_UNKNOWN` for a letter that stands for records that could not be read."""

SIZE_UNKNOWN = "unknown"


def order_state_changelog(app_id: str) -> str:
    """Return the name of the changelog topic of the table `order_state`, as Faust names it."""
    return f"{app_id}-order_state-changelog"


def catalogue(*, dataset: str, app_id: str, order_partitions: int) -> tuple[TopicSpec, ...]:
    """Return all topics that must exist before a connector or a worker of `dataset` starts."""
    return (
        _source(dataset, "orders", "order id", order_partitions, co_partitioned=True),
        _source(dataset, "order_details", "order id", order_partitions, co_partitioned=True),
        _source(dataset, "customers", "customer id", order_partitions),
        _source(dataset, "payment_method", "payment method id", 1),
        _output(ORDER_FINAL, "complete order, JSON", order_partitions),
        _output(ORDER_AMENDED, "order after a later change, JSON", order_partitions),
        _output(ORDER_INCOMPLETE, "order that has been incomplete for too long, JSON", order_partitions),
        _dead_letters(order_partitions),
        _SOURCE_EPOCHS,
        SIGNALS_SPEC,
        _order_state_changelog(app_id, order_partitions),
    )


def catalogue_of(source: Source, *, app_id: str, order_partitions: int) -> tuple[TopicSpec, ...]:
    """Return all topics that must exist before a connector or a worker of a dataset with this definition starts."""
    if source.completes_orders:
        return catalogue(dataset=source.name, app_id=app_id, order_partitions=order_partitions)
    return (
        *(_captured(source, table, order_partitions) for table in source.tables),
        _dead_letters(order_partitions),
        _SOURCE_EPOCHS,
        SIGNALS_SPEC,
    )


def _captured(source: Source, table: SourceTable, partitions: int) -> TopicSpec:
    spec = _source(source.name, table.name, table.topic_key or ", ".join(table.key), partitions)
    return replace(spec, name=topic_under(source.topic_prefix, table.name), config={**spec.config, **LARGE_CHANGES})


_SOURCE_EPOCHS = TopicSpec(
    name=SOURCE_EPOCHS,
    key="dataset",
    value="newest epoch of the dataset's source, JSON",
    partitions=1,
    direction=Direction.INTERNAL,
    owner="connector epoch begin",
    config={"cleanup.policy": "compact"},
)


SIGNALS_SPEC = TopicSpec(
    name=SOURCE_SIGNALS,
    key="id of the signal",
    value="row of the table `millrace_signal`, Debezium change envelope, JSON",
    partitions=1,
    direction=Direction.INTERNAL,
    owner="connector",
    config={"cleanup.policy": "delete", "retention.ms": str(86_400_000)},
)
"""The topic for the rows of the table of signals; without it, a connector that is given one stands still."""


def _source(dataset: str, table: str, key: str, partitions: int, *, co_partitioned: bool = False) -> TopicSpec:
    return TopicSpec(
        name=change_topic(dataset, table),
        key=key,
        value="Debezium change envelope, JSON",
        partitions=partitions,
        direction=Direction.IN,
        owner="connector",
        co_partitioned=co_partitioned,
        config=KEEP_FOREVER,
    )


def heartbeat_spec(prefix: str) -> TopicSpec:
    """Return the topic to which the connector named `prefix` writes every few seconds; without it, it stands still."""
    return TopicSpec(
        name=f"__debezium-heartbeat.{prefix}",
        key="name of the connector",
        value="time, JSON",
        partitions=1,
        direction=Direction.INTERNAL,
        owner="connector",
        config={"cleanup.policy": "delete", "retention.ms": str(86_400_000)},
    )


def _dead_letters(partitions: int) -> TopicSpec:
    return _output(
        DEAD_LETTERS,
        "unprocessable record, unchanged; the reason is in its headers",
        partitions,
        key="that of the record",
        owner="streams.orders, streams.lookups, streams.warehouse, streams.metrics, `millrace topics skip`, "
        "`millrace dead-letters replay` (notes)",
    )


def _output(
    name: str, value: str, partitions: int, *, key: str = "order id", owner: str = "streams.orders"
) -> TopicSpec:
    return TopicSpec(
        name=name,
        key=key,
        value=value,
        partitions=partitions,
        direction=Direction.OUT,
        owner=owner,
        co_partitioned=True,
        config=KEEP_FOREVER | LARGE_RECORDS,
    )


def _order_state_changelog(app_id: str, partitions: int) -> TopicSpec:
    return TopicSpec(
        name=order_state_changelog(app_id),
        key="order id",
        value="order state, MessagePack",
        partitions=partitions,
        direction=Direction.INTERNAL,
        owner="streams.orders",
        co_partitioned=True,
        config=COMPACT,
    )
