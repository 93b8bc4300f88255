"""Check that the source topics of a partition still have the records that come after its committed offsets.

An offset is valid for one life of a topic only. If a topic was deleted and created again, the same offset is another
record, or none at all. Kafka gives every topic an id, so an application keeps the ids beside its offsets: in the
changelog, or in the sink that holds the offsets. An application that has no id yet adopts the present one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.committer import Committer
from streams.runtime.partition.pipeline import Pipeline
from streams.runtime.partition.view import StoredPartitionView
from streams.runtime.state.changelog import SOURCE_KEY
from streams.runtime.state.codec import StateCodec

RUNBOOK: Final = "docs/operate/runbooks/source-topic-changed.md"


class Source(NamedTuple):
    """One partition of a source topic, as Kafka describes it.

    Attributes:
        topic_id: id that Kafka gave to the topic when it was created; None if the brokers are too old to have ids.
        begin: offset of the first record that still exists.
        end: offset of the next record to be written.
    """

    topic_id: str | None
    begin: int
    end: int


class SourceChangedError(Exception):
    """A source topic lacks the records that a partition has to process next, so that no retry can help.

    Attributes:
        topic: the source topic.
        partition: the number of its partition.
        expected: the committed offset or the known topic id.
        found: the offset or the topic id that Kafka reports.
    """

    def __init__(self, fault: str, *, app_id: str, tp: tuple[str, int], expected: int | str, found: int | str) -> None:
        self.topic, self.partition = tp
        self.expected = expected
        self.found = found
        super().__init__(
            f"partition {self.partition} of topic {self.topic} {fault}. Only this partition is stopped. To go on with "
            f"the records that still exist, stop the workers of {app_id} and run `millrace topics skip --app {app_id} "
            f"--topic {self.topic} --partition {self.partition} --to-beginning --reason TEXT`; see {RUNBOOK}"
        )


class SourceReplacedError(SourceChangedError):
    """The topic was deleted and created again."""


class SourceTruncatedError(SourceChangedError):
    """Records were deleted that this application had not processed yet."""


class SourceShortenedError(SourceChangedError):
    """The topic ends before the committed offset: it was created again, or the brokers have lost records."""


class SourceAlteredError(Exception):
    """A source topic was deleted or created again while its partition was running; the next task finds out which."""


class SourceIds(Protocol):
    """Interface to the place where an application keeps the ids of its source topics."""

    async def source_ids(self) -> Mapping[str, str]: ...
    async def keep_source_ids(self, ids: Mapping[str, str]) -> None: ...


class ChangelogSourceIds:
    """The ids of the source topics in a partition's changelog and store."""

    def __init__(self, committer: Committer, view: StoredPartitionView, pipeline: Pipeline) -> None:
        self._committer = committer
        self._view = view
        self._pipeline = pipeline

    async def source_ids(self) -> Mapping[str, str]:
        """Return the ids, which were restored from the changelog with the states."""
        return self._view.store.source_ids

    async def keep_source_ids(self, ids: Mapping[str, str]) -> None:
        """Write the ids to the changelog, then to the store."""
        table = self._pipeline.table
        assert table is not None
        written = await self._committer.commit(source_records(table.changelog_name, table.codec, ids), {})
        offset = written[table.changelog_name]
        self._view.store.keep_source_ids(ids)
        self._view.store.write([], offset)
        self._view.note_written(offset)


def source_records(changelog: str, codec: StateCodec[Any], ids: Mapping[str, str]) -> list[OutputRecord]:
    """Build the changelog records that contain the ids of source topics."""
    empty = codec.encode(codec.new())
    return [
        OutputRecord(changelog, SOURCE_KEY + topic.encode(), empty, ((topic, topic_id.encode()),))
        for topic, topic_id in ids.items()
    ]


async def check_sources(
    app_id: str,
    partition: int,
    committed: Mapping[str, int | None],
    sources: Mapping[str, Source],
    ids: SourceIds,
) -> None:
    """Check that each committed offset is still valid; keep the ids of the topics that are not known yet.

    Args:
        committed: next offset to process, keyed by topic; None if none was committed.
        sources: the topics as Kafka describes them, keyed by topic.
        ids: the place of the known ids.

    Raises:
        SourceReplacedError: a topic was deleted and created again.
        SourceTruncatedError: a topic begins after its committed offset.
        SourceShortenedError: a topic ends before its committed offset.
    """
    known = await ids.source_ids()
    for topic, source in sources.items():
        _check_id((topic, partition), app_id, committed[topic], known.get(topic), source)
        _check_offset((topic, partition), app_id, committed[topic], source)
    present = {topic: source.topic_id for topic, source in sources.items() if source.topic_id is not None}
    if not present.keys() <= known.keys():
        await ids.keep_source_ids({topic: found for topic, found in present.items() if topic not in known})


def _check_id(tp: tuple[str, int], app_id: str, offset: int | None, known: str | None, source: Source) -> None:
    if known is not None and source.topic_id is not None and source.topic_id != known:
        raise SourceReplacedError(
            f"was deleted and created again: its topic id is {source.topic_id}, but the committed offset {offset} "
            f"belongs to the topic with id {known}",
            app_id=app_id,
            tp=tp,
            expected=known,
            found=source.topic_id,
        )


def _check_offset(tp: tuple[str, int], app_id: str, offset: int | None, source: Source) -> None:
    if offset is None:
        return
    if offset < source.begin:
        raise SourceTruncatedError(
            f"begins at offset {source.begin}, after the committed offset {offset}: {source.begin - offset} offsets "
            "were deleted before they were processed",
            app_id=app_id,
            tp=tp,
            expected=offset,
            found=source.begin,
        )
    if offset > source.end:
        raise SourceShortenedError(
            f"ends at offset {source.end}, before the committed offset {offset}: the topic was created again, or its "
            "brokers have lost records",
            app_id=app_id,
            tp=tp,
            expected=offset,
            found=source.end,
        )
