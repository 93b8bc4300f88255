"""Compare the topics that exist in Kafka with the catalogue (`streams.topics`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams.topics import MIN_INSYNC_REPLICAS, TopicSpec, topic_config


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference between a topic and the catalogue, with the remedy."""

    topic: str
    aspect: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.aspect} expected {self.expected}, found {self.found}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class ExistingTopic:
    """Numbers of partitions and replicas, and settings of a topic, as Kafka reports them.

    `replicas` is that of the partition with the fewest.
    """

    partitions: int
    replicas: int
    config: Mapping[str, str]


def compare(
    specs: Sequence[TopicSpec], existing: Mapping[str, ExistingTopic], *, replication_factor: int
) -> list[Difference]:
    """List every difference between the catalogue and the existing topics."""
    differences: list[Difference] = []
    for spec in specs:
        topic = existing.get(spec.name)
        if topic is None:
            differences.append(_missing(spec))
            continue
        if topic.partitions != spec.partitions:
            differences.append(_other_partitions(spec, topic.partitions))
        if topic.replicas != replication_factor:
            differences.append(_other_replicas(spec.name, replication_factor, topic.replicas))
        for name, expected in topic_config(spec, replication_factor).items():
            found = topic.config.get(name, "nothing")
            if _normal(found) != _normal(expected):
                differences.append(_other_config(spec.name, name, expected, found))
    return differences


def too_few_insync(
    specs: Sequence[TopicSpec], existing: Mapping[str, ExistingTopic], *, replication_factor: int
) -> dict[str, str]:
    """Return the `min.insync.replicas` to set, keyed by topic, for topics whose own value is too low.

    A topic created by an earlier release has the brokers' default, which is usually 1. A value is never lowered, and a
    topic with another number of replicas is left as it is: the setting may be what is wrong.
    """
    found: dict[str, str] = {}
    for spec in specs:
        topic = existing.get(spec.name)
        if topic is None or topic.replicas != replication_factor:
            continue
        wanted = topic_config(spec, replication_factor)[MIN_INSYNC_REPLICAS]
        if int(topic.config.get(MIN_INSYNC_REPLICAS, "1")) < int(wanted):
            found[spec.name] = wanted
    return found


def _missing(spec: TopicSpec) -> Difference:
    return Difference(
        topic=spec.name,
        aspect="topic",
        expected=f"with {spec.partitions} partitions",
        found="none",
        remedy="create it with `millrace topics apply`",
    )


def _other_partitions(spec: TopicSpec, found: int) -> Difference:
    shared = " It is co-partitioned with others, so all of them must change together." if spec.co_partitioned else ""
    return Difference(
        topic=spec.name,
        aspect="partitions",
        expected=str(spec.partitions),
        found=str(found),
        remedy=f"set ORDER_PARTITIONS to {found}, or delete the topics and load the data again.{shared}",
    )


def _other_replicas(topic: str, expected: int, found: int) -> Difference:
    return Difference(
        topic=topic,
        aspect="replicas",
        expected=str(expected),
        found=str(found),
        remedy=f"set REPLICATION_FACTOR to {found}, or move the partitions: "
        "kafka-reassign-partitions --reassignment-json-file FILE --execute",
    )


def _other_config(topic: str, name: str, expected: str, found: str) -> Difference:
    return Difference(
        topic=topic,
        aspect=name,
        expected=expected,
        found=found,
        remedy=f"restore the setting: kafka-configs --alter --topic {topic} --add-config {name}={expected}",
    )


def _normal(value: str) -> list[str]:
    return sorted(part.strip() for part in value.split(","))
