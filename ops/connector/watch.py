"""Sweep after every completed snapshot: follow the connector's notifications.

topic in: notifications.<dataset>

A connector whose initial snapshot was interrupted begins another one by itself, also long after `connector apply` has
ended, and rows that were deleted in between have no captured deletion. So a sweep follows each completed snapshot.

Offsets are committed after the sweep, so an interrupted sweep is repeated. A repeated sweep appends only the deletions
that are missing, because the earlier ones are in the topics. If two sweeps run at once, they append equal records at
equal positions, and the second of these has no effect: each deletion takes effect exactly once.
"""

from __future__ import annotations

from typing import Final, Self

import msgspec
from confluent_kafka import OFFSET_STORED, KafkaError, KafkaException, Message, TopicPartition
from msgspec import Struct

from config.definition import Definition
from config.settings import DatabaseSettings
from ops.connector.sweep import SweptTable, require_comparable_key, sweep
from ops.context import SILENT
from stack.errors import StackError
from streams.adapters.committed_reader import ConsumerOwner, committed_consumer
from streams.topics import notifications

INITIAL_SNAPSHOT: Final = "Initial Snapshot"
STARTED, COMPLETED, SKIPPED = "STARTED", "COMPLETED", "SKIPPED"

_BATCH: Final = 1_000
_REFUSED: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)


class Notification(Struct):
    """The fields of Debezium's notification that matter here; `payload` is set in the converter's wrapper only."""

    aggregate_type: str = ""
    type: str = ""
    payload: Notification | None = None


_decoder = msgspec.json.Decoder(Notification)


def decode(value: bytes | str | None) -> Notification | None:
    """Decode a notification, with or without the converter's wrapper; None if the value is something else."""
    try:
        found = _decoder.decode(value or b"")
    except msgspec.DecodeError:
        return None
    return found.payload or found


class Snapshots:
    """What the notifications say of the snapshots so far.

    Attributes:
        is_running: whether a snapshot has started and not been reported as complete.
    """

    def __init__(self) -> None:
        self.is_running = False

    def ends(self, notification: Notification | None) -> bool:
        """Take the next notification; return whether a snapshot is complete now.

        A connector that is killed after the last row of a snapshot may never report it as complete. It reports instead,
        when it is back, that it skipped the snapshot.
        """
        if notification is None or notification.aggregate_type != INITIAL_SNAPSHOT:
            return False
        if notification.type == STARTED:
            self.is_running = True
        elif notification.type == COMPLETED or (notification.type == SKIPPED and self.is_running):
            self.is_running = False
            return True
        return False


class SnapshotWatch(ConsumerOwner):
    """Follows a connector's notifications, and sweeps the dataset's tables after each completed snapshot.

    Args:
        is_forced: delete rows even if they are a large share of a table.
    """

    def __init__(
        self, database: DatabaseSettings, bootstrap: str, definition: Definition, *, is_forced: bool = False
    ) -> None:
        for table in definition.tables:
            require_comparable_key(table)
        self._database = database
        self._bootstrap = bootstrap
        self._definition = definition
        self._is_forced = is_forced
        self._topic = notifications(definition.name).name
        self._snapshots = Snapshots()
        self._consumer = committed_consumer(
            bootstrap, f"millrace-sweep-{definition.name}", {"auto.offset.reset": "earliest"}, logger=SILENT
        )

    def __enter__(self) -> Self:
        self._consumer.assign([TopicPartition(self._topic, 0, OFFSET_STORED)])
        return self

    def step(self, timeout_s: float) -> list[SweptTable] | None:
        """Read the next notifications, and sweep if a snapshot is complete.

        Args:
            timeout_s: how long to wait for notifications.

        Returns:
            The swept tables; empty if no snapshot is complete, None if there were no notifications.

        Raises:
            StackError: a server cannot be reached, the topic does not exist, or too many rows are gone.
        """
        found = self._consumer.consume(_BATCH, timeout_s)
        messages = [message for message in found if _is_record(message, self._topic)]
        if not messages:
            return None
        # Not any(): every notification counts.
        ended = [self._snapshots.ends(decode(message.value())) for message in messages]
        swept = self._sweep() if any(ended) else []
        if not self._snapshots.is_running:  # its start must be read again if this process ends
            self._commit(messages[-1])
        return swept

    def _sweep(self) -> list[SweptTable]:
        return list(sweep(self._database, self._bootstrap, self._definition, is_forced=self._is_forced))

    def _commit(self, message: Message) -> None:
        try:
            self._consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:
            raise StackError(f"cannot commit offsets of {self._topic}: {error.args[0].str()}") from None


def _is_record(message: Message, topic: str) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise StackError(f"topic {topic} does not exist: create it with `millrace topics apply`")
    if error.fatal() or error.code() in _REFUSED:
        raise StackError(f"cannot read topic {topic}: {error.str()}")
    return False  # a broker is away, and the consumer goes on when it is back
