"""The catalogue of topics is whole and consistent."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from config.dataset import load_definition
from streams.topics import (
    DEAD_LETTERS,
    ORDER_AMENDED,
    ORDER_FINAL,
    SIGNALS_SPEC,
    Direction,
    TopicSpec,
    catalogue,
    catalogue_of,
    change_topic,
    order_state_changelog,
    topic_under,
)

CATALOGUE = catalogue(dataset="project_db", app_id="millrace-orders", order_partitions=6)
BY_NAME = {spec.name: spec for spec in CATALOGUE}


def test_change_topics_are_named_by_engine_dataset_and_table() -> None:
    assert change_topic("project_db", "orders") == "mysql.project_db.orders"
    assert topic_under("dbserver1.public", "orders") == "dbserver1.public.orders"


def test_the_definition_of_a_dataset_that_completes_orders_makes_the_same_catalogue() -> None:
    assert catalogue_of(load_definition("project_db"), app_id="millrace-orders", order_partitions=6) == CATALOGUE


def test_the_changelog_is_named_as_faust_names_it() -> None:
    assert order_state_changelog("millrace-orders") == "millrace-orders-order_state-changelog"


@pytest.mark.parametrize(
    ("direction", "names"),
    [
        (
            Direction.IN,
            {
                "mysql.project_db.orders",
                "mysql.project_db.order_details",
                "mysql.project_db.customers",
                "mysql.project_db.payment_method",
            },
        ),
        (Direction.OUT, {"order_final", "order_amended", "dead_letters"}),
        (Direction.INTERNAL, {"millrace-orders-order_state-changelog"}),
    ],
)
def test_the_documented_topics_are_in_the_catalogue(direction: Direction, names: set[str]) -> None:
    assert names <= {spec.name for spec in CATALOGUE if spec.direction is direction}


def test_every_topic_is_there_once() -> None:
    assert len(BY_NAME) == len(CATALOGUE)


def test_the_topics_of_one_order_share_its_partition_number() -> None:
    together = ["mysql.project_db.orders", "mysql.project_db.order_details", ORDER_FINAL, ORDER_AMENDED, DEAD_LETTERS]
    for name in [*together, order_state_changelog("millrace-orders")]:
        assert (BY_NAME[name].co_partitioned, BY_NAME[name].partitions) == (True, 6), name


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_co_partitioned_topics_have_the_partitions_of_orders(spec: TopicSpec) -> None:
    assert not spec.co_partitioned or spec.partitions == 6


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_no_topic_that_is_a_source_or_a_result_forgets_a_record(spec: TopicSpec) -> None:
    if spec is SIGNALS_SPEC:
        return  # its records tell of nothing that lasts
    if spec.direction is Direction.INTERNAL:
        assert spec.config["cleanup.policy"] == "compact"
    else:
        assert (spec.config["cleanup.policy"], spec.config["retention.ms"]) == ("delete", "-1")


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_every_topic_says_what_is_in_it_and_whose_it_is(spec: TopicSpec) -> None:
    assert spec.key
    assert spec.value
    assert spec.owner


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_every_name_is_one_that_kafka_accepts(spec: TopicSpec) -> None:
    assert len(spec.name) <= 249
    assert all(c.isascii() and (c.isalnum() or c in "._-") for c in spec.name)


def test_two_datasets_share_no_change_topic() -> None:
    other = catalogue(dataset="online_store", app_id="millrace-orders", order_partitions=6)
    sources = {spec.name for spec in CATALOGUE if spec.direction is Direction.IN}
    assert not sources & {spec.name for spec in other if spec.direction is Direction.IN}


def test_a_topic_cannot_be_altered() -> None:
    with pytest.raises(FrozenInstanceError):
        CATALOGUE[0].partitions = 1  # type: ignore[misc]
