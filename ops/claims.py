"""Find claimed orders that were already emitted, so that releasing the claims does not cause a second emission.

A worker that dies after its Kafka commit and before it marks the lock leaves a claim on an emitted order. So a
release first fences the deployment's producers (`fence`), as a starting worker does, and then reads which of the
claimed orders are in `order_final` (`emitted_among`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException, Producer

from config.kafka_security import aiokafka_client, librdkafka_client
from config.settings import KafkaSettings
from ops.context import SILENT
from ops.dataset.final_topic import FinalReader
from ops.shared_ids import named_ids
from stack.errors import StackError
from streams.runtime.partition.pipeline import transactional_id
from streams.topics import ORDER_FINAL, order_state_changelog
from tables import order_state

_ANSWER_SECONDS = 30.0


def fence(kafka: KafkaSettings, app_id: str) -> None:
    """Fence the application's workers: abort their open transactions, and prevent commits by their current producers.

    Raises:
        StackError: Kafka does not answer.
    """
    try:
        for number in range(kafka.order_partitions):
            _initialise(kafka, transactional_id(app_id, order_state.NAME, number))
        client = aiokafka_client(kafka.bootstrap)
        for name in asyncio.run(named_ids(client, order_state_changelog(app_id))):
            _initialise(kafka, name)
    except KafkaException as error:
        raise _cannot_fence(kafka, app_id, error.args[0].str() or error.args[0].name()) from None
    except KafkaError as error:
        raise _cannot_fence(kafka, app_id, str(error)) from None


def _initialise(kafka: KafkaSettings, name: str) -> None:
    settings = {**librdkafka_client(kafka.bootstrap), "transactional.id": name}
    Producer(settings, logger=SILENT).init_transactions(_ANSWER_SECONDS)


def _cannot_fence(kafka: KafkaSettings, app_id: str, why: str) -> StackError:
    return StackError(f"can't fence the workers of {app_id} with Kafka at {kafka.bootstrap}: {why}")


def emitted_among(kafka: KafkaSettings, order_ids: Collection[str]) -> set[str]:
    """Return the given orders that have a committed record in `order_final`; the topic is read in full.

    Raises:
        StackError: Kafka cannot be reached, or the topic does not exist.
    """
    wanted = {order_id.encode(): order_id for order_id in order_ids}
    found: set[str] = set()

    def visit(key: bytes | None, _: bytes | None) -> None:
        if key in wanted:
            found.add(wanted[key])

    with FinalReader(kafka.bootstrap, ORDER_FINAL) as reader:
        reader.visit_to_end(visit)
    return found
