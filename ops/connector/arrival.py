"""Whether a connector's records arrive in its topics: a task may be RUNNING and publish nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported implicitly

from config.kafka_security import librdkafka_client
from ops.context import SILENT
from stack.errors import StackError

SILENT_S: Final = 30.0
"""Seconds without a heartbeat after which a connector counts as standing still; it sends one every 5 s."""

_ARRIVAL_S: Final = 90.0
_ANSWER_S: Final = 10.0
_POLL_S: Final = 0.3
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NEWEST: Final = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]


class Arrivals:
    """Asks Kafka for the ends of topics and for the times of their newest records."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient(librdkafka_client(bootstrap), logger=SILENT)

    def end(self, topics: Iterable[str]) -> int:
        """Return the sum of the end offsets of all partitions of these topics."""
        return sum(info.offset for info in self._ask(topics, _LATEST).values())

    def newest_ms(self, topic: str) -> int | None:
        """Return the newest time of a topic's records, in milliseconds since 1970; None if it has none."""
        newest = max((info.timestamp for info in self._ask([topic], _NEWEST).values()), default=-1)
        return newest if newest > 0 else None  # Kafka answers -1 for an empty partition

    def records_since(self, topic: str, since_ms: int) -> int:
        """Return the number of offsets of a topic, in all partitions, that are not older than a time.

        Args:
            since_ms: milliseconds since 1970.
        """
        first = self._ask([topic], OffsetSpec.for_timestamp(since_ms))
        last = self._ask([topic], _LATEST)
        # Kafka answers -1 if a partition has nothing as new as that.
        begun = {place: info.offset for place, info in first.items() if info.offset >= 0}
        return sum(last[place].offset - offset for place, offset in begun.items() if place in last)

    def wait(self, topics: Iterable[str], before: int, *, failure: Callable[[], str | None]) -> None:
        """Wait until the topics' end is beyond `before`.

        Args:
            failure: returns why the connector has failed, or None.

        Raises:
            StackError: the connector failed, or nothing has arrived within the limit.
        """
        names, deadline = list(topics), time.monotonic() + _ARRIVAL_S
        while self.end(names) <= before:
            reason = failure()
            if reason is not None:
                raise StackError(f"the connector failed: {reason}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"the connector's task is running, but no record has arrived within {_ARRIVAL_S:.0f} s: see "
                    "Connect's log; a topic that does not exist stops the whole connector"
                )
            time.sleep(_POLL_S)

    def _ask(self, topics: Iterable[str], which: OffsetSpec) -> dict[TopicPartition, Any]:
        try:
            known: Mapping[str, Any] = self._admin.list_topics(timeout=_ANSWER_S).topics
            asked = {
                TopicPartition(topic, partition): which
                for topic in topics
                if topic in known
                for partition in known[topic].partitions
            }
            if not asked:
                return {}
            answers = self._admin.list_offsets(asked, request_timeout=_ANSWER_S)
            return {place: answer.result() for place, answer in answers.items()}
        except KafkaException as error:
            raise StackError(f"Kafka does not answer: {error.args[0].str()}") from None
