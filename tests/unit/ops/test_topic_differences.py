"""A topic that differs from the catalogue is reported with expected value, actual value and remedy."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from config.settings import KafkaSettings
from ops.topic_differences import Difference, ExistingTopic, compare, too_few_insync
from ops.topics import describe_topics
from streams.topics import MIN_INSYNC_REPLICAS, ORDER_FINAL, catalogue, topic_config

SPECS = catalogue(dataset="project_db", app_id="app", order_partitions=4)


def as_specified(*, replicas: int = 1) -> dict[str, ExistingTopic]:
    defaults = {"compression.type": "producer"}
    return {
        spec.name: ExistingTopic(
            partitions=spec.partitions, replicas=replicas, config={**defaults, **topic_config(spec, replicas)}
        )
        for spec in SPECS
    }


def with_min_insync(topic: ExistingTopic, value: str) -> ExistingTopic:
    return replace(topic, config={**topic.config, MIN_INSYNC_REPLICAS: value})


def differences(existing: dict[str, ExistingTopic], *, replication_factor: int = 1) -> list[Difference]:
    return compare(SPECS, existing, replication_factor=replication_factor)


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
def test_topics_as_specified_have_no_difference(replicas: int) -> None:
    assert differences(as_specified(replicas=replicas), replication_factor=replicas) == []


@pytest.mark.parametrize(("replicas", "expected"), [(1, "1"), (2, "1"), (3, "2"), (4, "3")])
def test_a_write_needs_all_replicas_but_one(replicas: int, expected: str) -> None:
    assert {topic_config(spec, replicas)[MIN_INSYNC_REPLICAS] for spec in SPECS} == {expected}


def test_an_acknowledgement_by_one_of_three_brokers_is_named() -> None:
    existing = as_specified(replicas=3)
    existing["order_final"] = with_min_insync(existing["order_final"], "1")
    (difference,) = differences(existing, replication_factor=3)
    assert (difference.topic, difference.aspect) == ("order_final", MIN_INSYNC_REPLICAS)
    assert (difference.expected, difference.found) == ("2", "1")


def test_another_number_of_replicas_is_named() -> None:
    existing = as_specified(replicas=3)
    existing["order_final"] = replace(existing["order_final"], replicas=1)
    (difference,) = differences(existing, replication_factor=3)
    assert (difference.topic, difference.aspect) == ("order_final", "replicas")
    assert (difference.expected, difference.found) == ("3", "1")
    assert "REPLICATION_FACTOR" in difference.remedy


def test_a_topic_of_an_earlier_release_gets_its_min_insync_replicas() -> None:
    existing = as_specified(replicas=3)
    existing["order_final"] = with_min_insync(existing["order_final"], "1")
    assert too_few_insync(SPECS, existing, replication_factor=3) == {"order_final": "2"}


@pytest.mark.parametrize("replication_factor", [1, 2])
def test_min_insync_replicas_are_never_lowered(replication_factor: int) -> None:
    existing = as_specified(replicas=3)
    assert too_few_insync(SPECS, existing, replication_factor=replication_factor) == {}
    strict = {name: with_min_insync(topic, "3") for name, topic in existing.items()}
    assert too_few_insync(SPECS, strict, replication_factor=3) == {}


def test_a_topic_with_fewer_replicas_than_set_stays_writable() -> None:
    assert too_few_insync(SPECS, as_specified(replicas=1), replication_factor=3) == {}


def test_another_partition_count_is_named() -> None:
    existing = as_specified()
    existing["order_final"] = replace(existing["order_final"], partitions=3)
    (difference,) = differences(existing)
    assert (difference.topic, difference.expected, difference.found) == ("order_final", "4", "3")
    assert "ORDER_PARTITIONS" in str(difference)


def test_compaction_where_records_must_stay_is_named() -> None:
    existing = as_specified()
    wrong = {**existing["order_final"].config, "cleanup.policy": "compact"}
    existing["order_final"] = replace(existing["order_final"], config=wrong)
    (difference,) = differences(existing)
    assert (difference.aspect, difference.expected, difference.found) == ("cleanup.policy", "delete", "compact")
    assert "--add-config cleanup.policy=delete" in difference.remedy


def test_a_missing_topic_is_named() -> None:
    existing = as_specified()
    del existing["order_amended"]
    (difference,) = differences(existing)
    assert "order_amended" in str(difference)
    assert "topics apply" in difference.remedy


class _Admin:
    """Two brokers: the first knows all topics, the second does not know `order_final` yet."""

    def list_topics(self, timeout: float) -> Any:
        partition = SimpleNamespace(replicas=[1, 2, 3])
        topics = {spec.name: SimpleNamespace(partitions=dict.fromkeys(range(4), partition)) for spec in SPECS}
        return SimpleNamespace(topics=topics)

    def describe_configs(self, resources: list[Any], request_timeout: float) -> dict[Any, Future[dict[str, Any]]]:
        answers: dict[Any, Future[dict[str, Any]]] = {resource: Future() for resource in resources}
        for resource, answer in answers.items():
            if resource.name == ORDER_FINAL:
                answer.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
            else:
                answer.set_result({"cleanup.policy": SimpleNamespace(name="cleanup.policy", value="delete")})
        return answers


def test_a_topic_that_only_some_brokers_know_is_missing() -> None:
    kafka = KafkaSettings.read({"KAFKA_BOOTSTRAP": "127.0.0.1:1"})
    admin: Any = _Admin()
    found = describe_topics(admin, kafka, SPECS)
    assert {spec.name for spec in SPECS} - set(found) == {ORDER_FINAL}
    assert {topic.replicas for topic in found.values()} == {3}
