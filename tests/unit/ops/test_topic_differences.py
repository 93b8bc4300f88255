"""A topic that differs from the catalogue is reported with expected value, actual value and remedy."""

from __future__ import annotations

from ops.topics import ExistingTopic, compare
from streams.topics import TopicSpec, catalogue

SPECS = catalogue(dataset="project_db", app_id="app", order_partitions=4)


def as_specified(specs: tuple[TopicSpec, ...]) -> dict[str, ExistingTopic]:
    defaults = {"compression.type": "producer"}
    return {spec.name: ExistingTopic(partitions=spec.partitions, config={**defaults, **spec.config}) for spec in specs}


def test_topics_as_specified_have_no_difference() -> None:
    assert compare(SPECS, as_specified(SPECS)) == []


def test_another_partition_count_is_named() -> None:
    existing = as_specified(SPECS)
    existing["order_final"] = ExistingTopic(partitions=3, config=existing["order_final"].config)
    (difference,) = compare(SPECS, existing)
    assert (difference.topic, difference.expected, difference.found) == ("order_final", "4", "3")
    assert "ORDER_PARTITIONS" in str(difference)


def test_compaction_where_records_must_stay_is_named() -> None:
    existing = as_specified(SPECS)
    wrong = {**existing["order_final"].config, "cleanup.policy": "compact"}
    existing["order_final"] = ExistingTopic(partitions=4, config=wrong)
    (difference,) = compare(SPECS, existing)
    assert (difference.aspect, difference.expected, difference.found) == ("cleanup.policy", "delete", "compact")
    assert "--add-config cleanup.policy=delete" in difference.remedy


def test_a_missing_topic_is_named() -> None:
    existing = as_specified(SPECS)
    del existing["order_amended"]
    (difference,) = compare(SPECS, existing)
    assert "order_amended" in str(difference)
    assert "topics apply" in difference.remedy
