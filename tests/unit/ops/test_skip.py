"""Goal: a record is stepped over only if it is the next one, and what is skipped or lost stays as a dead letter.

Method: the checks and the letters without servers, the archive's gap on a bucket in memory. The whole command runs on
real servers in `tests/streams/test_worker_start.py`.
"""

from __future__ import annotations

import argparse
from typing import Any, cast

import pytest
from faust.types import TP

from config.errors import UsageError
from ops.cli import parser
from ops.dead_letters.letter import DeadLetter, RecordRef, read_record
from ops.dead_letters.replaying import replay_fault
from ops.skip.applications import position_of
from ops.skip.command import Record, check_next, lost_letter, skipped_letter
from ops.skip.positions import ArchivePosition, StoppedApplication
from stack.errors import StackError
from streams.model.archive_chain import RECORDS, TOPIC_ID, Piece, object_name
from streams.runtime.partition.batch import OutputRecord
from streams.runtime.partition.sources import Source
from streams.topics import DEAD_LETTERS
from tests.unit.tables.archive_testbed import NUMBER, TOPIC, Group, Kafka, MemoryBucket, Owner

ORDERS = TP("mysql.project_db.orders", 2)
SOURCE = Source("a" * 32, 3, 20)
OLD, NEW = "a" * 32, "b" * 32


def arguments(*more: str) -> argparse.Namespace:
    """A parsed command line."""
    fixed = ["--app", "shop", "--topic", ORDERS.topic, "--partition", "2", "--reason", "poison"]
    return parser("topics").parse_args(["topics", "skip", *fixed, *more])


def read_letter(letter: OutputRecord) -> DeadLetter:
    found = read_record(RecordRef(0, 1), 0, letter.key, letter.value, letter.headers)
    assert isinstance(found, DeadLetter)
    return found


def headers(letter: OutputRecord) -> dict[str, str]:
    return {name: raw.decode() for name, raw in letter.headers}


@pytest.mark.parametrize("wrong", [[], ["--offset", "7", "--to-beginning"], ["--offset", "-1"], ["--offset", "x"]])
def test_one_place_has_to_be_given(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(*wrong)
    assert ended.value.code == 2
    assert "--" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dataset", "app", "topic", "said"),
    [
        ("shop", "millrace-orders", "dbserver1.public.orders", "unknown application"),
        ("shop", "millrace-archive", "mysql.project_db.orders", "does not read topic"),
        ("shop", "millrace-metrics", "dead_letters", "does not read topic"),
        ("project_db", "millrace-lookups", "mysql.project_db.orders", "does not read topic"),
    ],
)
def test_an_application_and_its_topic_are_those_of_the_dataset(dataset: str, app: str, topic: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        position_of(StoppedApplication(app, {}, output_compression=None), TP(topic, 0), {"DATASET": dataset})


@pytest.mark.parametrize(
    ("offset", "committed", "record"),
    [(7, 7, Record(7)), (9, 7, Record(9)), (7, 7, Record(None)), (3, None, Record(3))],
    ids=["at the offset", "after transaction markers", "unreadable", "nothing committed"],
)
def test_the_next_record_can_be_skipped(offset: int, committed: int | None, record: Record) -> None:
    check_next(ORDERS, offset, committed, record, SOURCE)


@pytest.mark.parametrize(
    ("offset", "committed", "record"),
    [(8, 7, Record(7)), (6, 7, Record(7)), (8, 7, Record(None)), (2, 2, Record(None)), (20, 20, Record(None))],
    ids=["a later one", "an earlier one", "after an unreadable one", "deleted", "not written yet"],
)
def test_no_other_record_can_be_skipped(offset: int, committed: int, record: Record) -> None:
    with pytest.raises(StackError, match=str(offset)):
        check_next(ORDERS, offset, committed, record, SOURCE)


def test_the_letter_has_the_records_bytes_and_the_reason() -> None:
    letter = skipped_letter(arguments("--offset", "7"), Record(7, b"key", b"value", 1_000))
    assert letter[:3] == (DEAD_LETTERS, b"key", b"value")
    assert headers(letter) == {
        "reason": "skipped by an operator: poison",
        "app": "shop",
        "topic": ORDERS.topic,
        "partition": "2",
        "offset": "7",
        "timestamp": "1000",
    }


@pytest.mark.parametrize("record", [Record(None), Record(9, b"of another", b"record", 1_000)])
def test_a_record_that_cannot_be_read_leaves_a_letter_with_what_is_known(record: Record) -> None:
    letter = skipped_letter(arguments("--offset", "7"), record)
    assert (letter.key, letter.value, headers(letter)["offset"]) == (b"", None, "7")
    assert "could not be read" in headers(letter)["reason"]
    assert "could not be read" in str(replay_fault(read_letter(letter), {ORDERS.topic: 4}))


@pytest.mark.parametrize(("committed", "said"), [(1, "from offset 1"), (None, "from an unknown offset")])
def test_the_letter_of_lost_records_names_their_range(committed: int | None, said: str) -> None:
    reason = headers(lost_letter(arguments("--to-beginning"), committed, SOURCE))["reason"]
    assert said in reason
    assert f"offset 3 of the topic with id {OLD}" in reason
    letter = read_letter(lost_letter(arguments("--to-beginning"), committed, SOURCE))
    assert replay_fault(letter, {ORDERS.topic: 4}) is not None


# -- the archive ------------------------------------------------------------------------------------------------------


class Stopped(Group):
    """The archive without workers; it records the dead letters."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[OutputRecord] = []

    async def write(self, letter: OutputRecord, partition: int) -> None:
        self.letters.append(letter)


LETTER = OutputRecord(DEAD_LETTERS, b"", None)


async def archive(bucket: MemoryBucket, app: Stopped, *, topic_id: str = OLD) -> ArchivePosition:
    """The position of an archive that has the records 0 and 1."""
    kafka = Kafka()
    owner = await Owner(bucket, app).open()
    await owner.committer.keep_source_ids({TOPIC: topic_id})
    kafka.produce(2)
    await owner.read(kafka)
    await owner.committer.check()
    return ArchivePosition(cast(StoppedApplication, app), TP(TOPIC, NUMBER), cast(Any, bucket), "")


async def test_a_gap_in_the_archive_is_an_object_without_records_and_the_chain_goes_on() -> None:
    bucket, app = MemoryBucket(), Stopped()
    position = await archive(bucket, app)
    assert await position.offset() == 2
    await position.move(LETTER, 10, OLD)
    metadata = bucket.objects[object_name(TOPIC, NUMBER, 2)][1]
    assert (bucket.pieces(), metadata[RECORDS], metadata[TOPIC_ID]) == ([Piece(0, 1), Piece(2, 9)], "0", OLD)
    assert (app.letters, app.offset) == ([LETTER], 10)
    assert [row["offset"] for row in bucket.rows()] == [0, 1]
    assert (await Owner(bucket, app).open()).position == 10


@pytest.mark.parametrize(("offset", "topic_id"), [(1, OLD), (10, NEW)], ids=["backwards", "another topic"])
async def test_the_archive_does_not_mix_two_topics_of_one_name(offset: int, topic_id: str) -> None:
    bucket, app = MemoryBucket(), Stopped()
    position = await archive(bucket, app)
    await position.offset()
    with pytest.raises(StackError, match="former topic"):
        await position.move(LETTER, offset, topic_id)
    assert (bucket.pieces(), app.letters) == ([Piece(0, 1)], [])
