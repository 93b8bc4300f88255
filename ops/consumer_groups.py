"""Ask Kafka for the workers of applications: each application is a consumer group."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from config.kafka_security import librdkafka_client
from ops.context import SILENT

ANSWER_S: Final = 10.0
_PAUSE_S: Final = 0.2
_COORDINATOR_MOVES: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Group(NamedTuple):
    """The state of a consumer group, and its number of members."""

    state: ConsumerGroupState
    members: int

    @property
    def is_gone(self) -> bool:
        """Whether it has no members."""
        return self.state in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)


def described_groups(bootstrap: str, names: Collection[str]) -> Mapping[str, Group]:
    """Describe consumer groups, by name; one that does not exist is dead. Try again while a coordinator is moving.

    Raises:
        KafkaException: Kafka does not answer.
    """
    admin = AdminClient(librdkafka_client(bootstrap), logger=SILENT)
    return {name: _described(admin, name) for name in names}


def _described(admin: AdminClient, name: str) -> Group:
    deadline = time.monotonic() + ANSWER_S
    while True:
        [answer] = admin.describe_consumer_groups([name], request_timeout=ANSWER_S).values()
        try:
            found = answer.result()
            return Group(found.state, len(found.members))
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return Group(ConsumerGroupState.DEAD, 0)
            if code not in _COORDINATOR_MOVES or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_S)
