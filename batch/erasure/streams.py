"""Erases a person's look-up entry from Redis, and counts the person's records in Kafka.

Kafka cannot remove single records from a topic. The erasure report therefore states how many records of the person a
topic has, and how long the topic keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AdminClient,
    ConfigResource,
    ResourceType,
)

from batch.bronze.archive import find_objects
from batch.bronze.progress import positions
from batch.context import RunContext
from batch.erasure.archive import quoted
from batch.erasure.person import SUBJECT, Person
from batch.erasure.report import Entry
from batch.errors import BatchError
from batch.reconcile.buckets import key_text
from batch.reconcile.pending_changes import images, pending_changes
from config.kafka_security import librdkafka_client
from streams.adapters.committed_reader import CommittedReader, TopicError
from streams.adapters.redis import RedisAwayError, RedisConsole, Script
from streams.model.archive_chain import ChainBrokenError
from streams.topics import DEAD_LETTERS, topic_under

ANSWER_S: Final = 10.0
LOOKUPS: Final = 0
"""Number of the Redis database that has the look-up entries: customers and payment methods by id."""

DELETE: Final = Script("""\
-- key -> 1 if the key existed
return redis.call('DEL', ARGV[1])
""")


def topic_of(person: Person, context: RunContext) -> str:
    """Return the name of the change topic of the person's table."""
    return topic_under(context.definition.topic_prefix, person.table.source_name)


class Topics:
    """Reads the Kafka topics that may contain records of a person to erase."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin = AdminClient({**librdkafka_client(bootstrap), "log_level": 2})

    def exists(self, topic: str) -> bool:
        """Whether the Kafka cluster has a topic of this name."""
        return topic in self._asked(lambda: self._admin.list_topics(timeout=ANSWER_S).topics)

    def check_archived(self, person: Person, context: RunContext) -> None:
        """Check that the archive has all changes of the person; any missing change would be archived after the erasure.

        Raises:
            BatchError: changes of the person are not archived yet, or Kafka or the archive cannot be read.
        """
        topic = topic_of(person, context)
        if not self.exists(topic):
            return
        # Bronze has landed all changes below its positions, whose objects `maintain --archive` may have deleted.
        landed = positions(context.table("bronze", person.table.name).progress(), topic)
        try:
            archived = find_objects(context.spark, context.lake.changes(topic), landed).following
        except ChainBrokenError as error:
            raise BatchError(f"the archive of {topic} has a gap: {error}", layer="bronze") from error
        ends = {**landed, **archived}
        if not ends and person.table.feed == "jdbc":
            return  # no worker archives this topic
        found = pending_changes(self._bootstrap, topic, person.table, ends)
        keys = {key_text([row.get(person.key)]) for row in found.rows}
        if found.is_all or key_text([person.id]) in keys:
            raise BatchError(
                f"changes of this {SUBJECT} in {topic} are not archived yet and would be archived after the erasure: "
                "check that streams.archive is running, and repeat the command after its next flush (ARCHIVE_FLUSH_S)",
                layer="bronze",
                table=person.table.name,
            )

    def entries(self, person: Person, context: RunContext, values: Collection[str]) -> list[Entry]:
        """Return report entries that count the person's records in the change topic and in the dead-letter topic."""
        own = key_text([person.id])
        texts = [quoted(value).encode() for value in values]

        def is_of_person(value: bytes) -> bool:
            rows = images(value, person.table)
            if rows:
                return any(key_text([row.get(person.key)]) == own for row in rows)
            return any(text in value for text in texts)

        def is_dead_letter_of_person(value: bytes) -> bool:
            rows = [row for row in images(value, person.table) if {*person.personal} & row.keys()]
            return any(key_text([row.get(person.key)]) == own for row in rows) or any(text in value for text in texts)

        return [
            self._entry(topic, judge)
            for topic, judge in (
                (topic_of(person, context), is_of_person),
                (DEAD_LETTERS, is_dead_letter_of_person),
            )
            if self.exists(topic)
        ]

    def _entry(self, topic: str, is_of_person: Callable[[bytes], bool]) -> Entry:
        count = 0

        def visit(_key: bytes | None, value: bytes | None) -> None:
            nonlocal count
            count += value is not None and is_of_person(value)

        try:
            with CommittedReader(self._bootstrap, topic, "millrace-erase") as reader:
                reader.visit_to_end(visit)
        except TopicError as error:
            raise BatchError(str(error), layer="stream", table=topic) from None
        note = f"Kafka cannot erase single records; the topic {self._fate(topic)}" if count else ""
        return Entry(place=f"topic {topic}", found=count, left=count, is_ours=False, note=note)

    def _fate(self, topic: str) -> str:
        """Describe, for the erasure report, how long a topic keeps its records according to its configuration."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        found = self._asked(lambda: self._admin.describe_configs([resource])[resource].result(ANSWER_S))
        kept_ms = int(found["retention.ms"].value)
        kept = "keeps all records" if kept_ms < 0 else f"keeps records for {kept_ms / 86_400_000:,.1f} days"
        if "compact" not in found["cleanup.policy"].value:
            return f"is not compacted and {kept} (retention.ms={kept_ms})"
        return "is compacted and keeps only the newest record of each key"

    def _asked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except KafkaException as error:
            reason = error.args[0].str()
            raise BatchError(f"cannot reach Kafka at {self._bootstrap} ({reason}): check that it is running") from None


def lookup_found(redis: RedisConsole, person: Person) -> int:
    """Return 1 if Redis has a look-up entry for the person, else 0.

    Raises:
        BatchError: Redis does not answer.
    """
    try:
        return int(redis.get(f"{SUBJECT}:{person.id}") is not None)
    except RedisAwayError as error:
        raise BatchError(f"cannot read the look-up entry of this {SUBJECT}: {error}", layer="redis") from None


def erase_lookup(redis: RedisConsole, person: Person) -> None:
    """Delete the person's look-up entry from Redis.

    Raises:
        BatchError: Redis does not answer.
    """
    try:
        redis.call(DELETE, f"{SUBJECT}:{person.id}".encode())
    except RedisAwayError as error:
        raise BatchError(f"cannot erase the look-up entry of this {SUBJECT}: {error}", layer="redis") from None
