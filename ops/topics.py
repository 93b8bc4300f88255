"""Create missing topics of the catalogue (`streams.topics`) in Kafka, and compare existing topics with the catalogue.

millrace topics apply     create missing topics, raise min.insync.replicas where it is too low, then compare all topics
millrace topics check     compare the topics with the catalogue; exit code 1 if they differ
millrace topics skip      step over source records that an application cannot process
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported implicitly
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from config.json_output import add_json_option, print_json
from config.kafka_security import librdkafka_client
from config.settings import DatasetSettings, KafkaSettings
from ops.context import SILENT, add_stack_option, definition_of, settings_environment
from ops.skip import options as skip
from ops.topic_differences import ExistingTopic, compare, too_few_insync
from stack.errors import StackError
from streams.topics import MIN_INSYNC_REPLICAS, TopicSpec, catalogue_of, topic_config

_ANSWER_SECONDS = 10.0
_KNOWN_SECONDS = 30.0
_POLL_SECONDS = 0.2


def add_commands(subparsers: Any) -> None:
    """Add `topics apply` and `topics check`."""
    parser = subparsers.add_parser("topics", help="create and check the topics, and skip records")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, run, text in (
        ("apply", run_apply, "create the missing topics, raise min.insync.replicas, then check all topics"),
        ("check", run_check, "compare the topics with the catalogue"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        add_stack_option(action)
        action.set_defaults(run=run)
        if name == "check":
            add_json_option(
                action,
                topics="number of topics in the catalogue",
                differences="objects with `topic`, `aspect`, `expected`, `found` and `remedy`",
            )
    skipping = actions.add_parser(
        "skip",
        help=skip.HELP.split("\n", 1)[0],
        description=skip.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_stack_option(skipping)
    skip.add_options(skipping)
    skipping.set_defaults(run=skip.run)


def run_apply(arguments: argparse.Namespace) -> int:
    """Create the missing topics, then compare all topics with the catalogue."""
    kafka, specs = _read_settings(arguments)
    created = apply_topics(kafka, specs)
    print(f"{len(created)} topics created, {len(specs) - len(created)} already existed; all topics match")
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Compare the topics with the catalogue without creating any."""
    kafka, specs = _read_settings(arguments)
    if arguments.json:
        existing = describe_topics(_admin(kafka), kafka, specs)
        found = compare(specs, existing, replication_factor=kafka.replication_factor)
        differences = [asdict(difference) for difference in found]
        return print_json(arguments, exit_code=1 if found else 0, topics=len(specs), differences=differences)
    check_topics(kafka, specs)
    print(f"{len(specs)} topics match the catalogue")
    return 0


def apply_topics(kafka: KafkaSettings, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the missing topics, and return their names; raise `min.insync.replicas` of the others where it is too low.

    Raises:
        StackError: Kafka cannot be reached, or an existing topic differs from the catalogue.
    """
    admin = _admin(kafka)
    existing = describe_topics(admin, kafka, specs)
    missing = [spec for spec in specs if spec.name not in existing]
    if missing:
        replicas = kafka.replication_factor
        requests = [
            NewTopic(spec.name, spec.partitions, replicas, config=topic_config(spec, replicas)) for spec in missing
        ]
        for name, outcome in admin.create_topics(requests, operation_timeout=_ANSWER_SECONDS).items():
            _await_creation(name, outcome)
    low = too_few_insync(specs, existing, replication_factor=kafka.replication_factor)
    _raise_min_insync(admin, low)
    if missing or low:
        existing = _await_changes(admin, kafka, specs)
    _require_equal(kafka, specs, existing)
    return [spec.name for spec in missing]


def _raise_min_insync(admin: AdminClient, wanted: Mapping[str, str]) -> None:
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[ConfigEntry(MIN_INSYNC_REPLICAS, value, incremental_operation=AlterConfigOpType.SET)],
        )
        for topic, value in wanted.items()
    ]
    answers = admin.incremental_alter_configs(resources, request_timeout=_ANSWER_SECONDS) if resources else {}
    for resource, answer in answers.items():
        try:
            answer.result()
        except KafkaException as error:
            raise StackError(
                f"{resource.name}: {MIN_INSYNC_REPLICAS} could not be set: {error.args[0].str()}"
            ) from None


def _await_changes(admin: AdminClient, kafka: KafkaSettings, specs: Sequence[TopicSpec]) -> dict[str, ExistingTopic]:
    """Wait until the brokers report what has been changed; a busy one may do so only after some time."""
    deadline = time.monotonic() + _KNOWN_SECONDS
    while True:
        existing = describe_topics(admin, kafka, specs)
        low = too_few_insync(specs, existing, replication_factor=kafka.replication_factor)
        if (len(existing) == len(specs) and not low) or time.monotonic() > deadline:
            return existing
        time.sleep(_POLL_SECONDS)


def check_topics(kafka: KafkaSettings, specs: Sequence[TopicSpec]) -> None:
    """Raise `StackError` with one line per difference between Kafka and the catalogue."""
    _require_equal(kafka, specs, describe_topics(_admin(kafka), kafka, specs))


def _require_equal(kafka: KafkaSettings, specs: Sequence[TopicSpec], existing: Mapping[str, ExistingTopic]) -> None:
    differences = compare(specs, existing, replication_factor=kafka.replication_factor)
    if differences:
        raise StackError("\n".join(str(difference) for difference in differences))


def describe_topics(admin: AdminClient, kafka: KafkaSettings, specs: Sequence[TopicSpec]) -> dict[str, ExistingTopic]:
    """Return the partitions and settings of the existing topics, keyed by topic.

    A topic that only some brokers know, because it was created a moment ago, may be missing.

    Raises:
        StackError: Kafka does not answer.
    """
    try:
        metadata = admin.list_topics(timeout=_ANSWER_SECONDS).topics
        found = {spec.name: metadata[spec.name].partitions for spec in specs if spec.name in metadata}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
        answers = admin.describe_configs(resources, request_timeout=_ANSWER_SECONDS) if resources else {}
        configs = {resource.name: config for resource, answer in answers.items() if (config := _config(answer))}
    except KafkaException as error:
        reason = error.args[0].str()
        raise StackError(f"Kafka: {reason}; is Kafka at {kafka.bootstrap} running and reachable?") from None
    return {
        name: ExistingTopic(
            partitions=len(partitions),
            replicas=min((len(partition.replicas) for partition in partitions.values()), default=0),
            config={entry.name: str(entry.value) for entry in configs[name].values()},
        )
        for name, partitions in found.items()
        if name in configs
    }


def _config(answer: Any) -> Mapping[str, Any] | None:
    """Return a topic's settings; None if the broker that was asked does not know the topic."""
    try:
        config: Mapping[str, Any] = answer.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise
    return config


def _await_creation(name: str, outcome: Any) -> None:
    try:
        outcome.result()
    except KafkaException as error:
        fault = error.args[0]
        # Another process has just created it; the check that follows compares it with the catalogue.
        if fault.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise StackError(f"{name} could not be created: {fault.str()}") from None


def _admin(kafka: KafkaSettings) -> AdminClient:
    return AdminClient(librdkafka_client(kafka.bootstrap), logger=SILENT)


def _read_settings(arguments: argparse.Namespace) -> tuple[KafkaSettings, tuple[TopicSpec, ...]]:
    environment = settings_environment(arguments)
    kafka, dataset = KafkaSettings.read(environment), DatasetSettings.read(environment)
    definition = definition_of(dataset.dataset)
    return kafka, catalogue_of(definition, app_id=dataset.orders_app_id, order_partitions=kafka.order_partitions)
