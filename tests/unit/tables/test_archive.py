"""Goal: the archive's committer goes on at the end of the chain, finds it without looking through everything, puts in
time, and does without an object storage for a while.

Method: committers over a bucket in memory; `test_archive_interleavings.py` has everything that rivals can do.
"""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from faust.types import TP

from streams.model.archive_chain import Piece, object_name
from streams.model.errors import SinkAwayError
from streams.runtime.faust.app import TransactionalApp
from tables.archive import committer
from tables.archive.committer import ArchiveSink
from tests.unit.tables.archive_testbed import NUMBER, TOPIC, Group, Kafka, MemoryBucket, Owner


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


async def archived(bucket: MemoryBucket, group: Group, kafka: Kafka, *lengths: int) -> Owner:
    """An owner that has put an object for each length."""
    owner = await Owner(bucket, group).open()
    for length in lengths:
        kafka.produce(length)
        await owner.read(kafka)
        await owner.committer.check()
    return owner


# -- where to go on ---------------------------------------------------------------------------------------------------


async def test_an_empty_archive_begins_wherever_kafka_begins_and_its_first_object_starts_at_zero(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    owner = Owner(bucket, group)
    assert await owner.sink.committers(TOPIC)(NUMBER).committed() == {TOPIC: None}
    await owner.open()
    kafka.produce(2, gap=7)
    await owner.read(kafka)
    await owner.committer.check()
    assert bucket.pieces() == [Piece(0, 8)]
    assert group.offset == 9


async def test_offsets_of_transaction_markers_make_no_gap(bucket: MemoryBucket, group: Group, kafka: Kafka) -> None:
    owner = await archived(bucket, group, kafka, 3)
    kafka.produce(1, gap=2)
    await owner.read(kafka)
    await owner.committer.check()
    assert bucket.pieces() == [Piece(0, 2), Piece(3, 5)]
    assert [row["offset"] for row in bucket.rows()] == [0, 1, 2, 5]


async def test_a_restart_with_nothing_new_looks_at_two_objects_and_writes_nothing(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    await archived(bucket, group, kafka, *[5] * 400)
    bucket.asked.clear()
    owner = await Owner(bucket, group).open()
    await owner.committer.close()
    assert owner.position == 2_000
    assert sorted(set(bucket.asked)) == [object_name(TOPIC, NUMBER, start) for start in (1_995, 2_000)]
    assert bucket.listed < 1_024 / 5 + 1
    assert len(bucket.objects) == 400


async def test_the_last_object_is_found_however_far_back_it_starts(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    owner = await archived(bucket, group, kafka, 3)
    kafka.produce(1, gap=1_000_000)
    await owner.read(kafka)
    await owner.committer.check()
    assert (await Owner(bucket, group).open()).position == 1_000_004


@pytest.mark.parametrize(
    "group_offset", [None, 4, 9, 99], ids=["nothing", "no joint", "behind the end", "beyond the end"]
)
async def test_the_chain_decides_and_the_group_is_put_right(
    bucket: MemoryBucket, group: Group, kafka: Kafka, group_offset: int | None
) -> None:
    await archived(bucket, group, kafka, 5, 4, 3)
    group.offset = group_offset
    assert (await Owner(bucket, group).open()).position == 12
    assert group.offset == 12


async def test_an_archive_that_lost_an_object_in_the_middle_goes_on_there_if_the_group_forgets(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    await archived(bucket, group, kafka, 5, 4, 3)
    del bucket.objects[object_name(TOPIC, NUMBER, 5)]
    group.offset = None
    owner = await Owner(bucket, group).open()
    assert owner.position == 5
    await owner.read(kafka, 6)
    await owner.committer.check()
    await owner.read(kafka)
    await owner.committer.check()
    assert [row["offset"] for row in bucket.rows()] == list(range(12))


async def test_an_object_of_somebody_else_stops_its_partition_with_a_name(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    bucket.objects[object_name(TOPIC, NUMBER, 0)] = (b"?", {})
    with pytest.raises(SinkAwayError, match=r"00000000000000000000.parquet is not an archive object"):
        await Owner(bucket, group).open()


async def test_an_archive_that_was_emptied_is_filled_again_without_a_new_record(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    owner = await archived(bucket, group, kafka, 5, 4)
    bucket.objects.clear()
    with pytest.raises(SinkAwayError, match="the last object in the archive of"):
        await owner.committer.check()
    await owner.open()
    assert owner.position == 0
    await owner.read(kafka)
    await owner.committer.check()
    assert bucket.pieces() == [Piece(0, 8)]


async def test_nothing_is_put_behind_a_gap(bucket: MemoryBucket, group: Group, kafka: Kafka) -> None:
    owner = await archived(bucket, group, kafka, 5)
    bucket.objects.clear()
    kafka.produce(1)
    await owner.read(kafka)
    with pytest.raises(SinkAwayError):
        await owner.committer.check()
    await owner.committer.close()
    assert bucket.objects == {}


# -- when to put ------------------------------------------------------------------------------------------------------


async def test_an_object_is_put_when_enough_bytes_wait(bucket: MemoryBucket, group: Group, kafka: Kafka) -> None:
    owner = await Owner(bucket, group, flush_bytes=10_000, flush_s=1_000.0).open()
    kafka.produce(15, value=b"v" * 1_000)
    for _ in range(15):
        await owner.read(kafka, 1)
    await owner.committer.check()
    assert [piece.last - piece.start for piece in bucket.pieces()] == [9]
    waiting = owner.sink.waiting()[f"{TOPIC}/{NUMBER}"]
    assert waiting["records"] == 5
    assert waiting["bytes"] > 5 * 1_000


async def test_an_object_is_put_when_a_record_has_waited_long_enough(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    owner = await Owner(bucket, group, flush_s=1_000.0).open()
    kafka.produce(2)
    await owner.read(kafka, 1)
    await owner.committer.check()
    await asyncio.sleep(0.02)
    await owner.read(kafka, 1)
    waited = owner.sink.waiting()[f"{TOPIC}/{NUMBER}"]
    assert (bucket.objects, waited["records"]) == ({}, 2)
    assert waited["seconds"] >= 0.02
    owner.sink.flush_s = 0.02
    await owner.committer.check()
    assert bucket.pieces() == [Piece(0, 1)]
    assert owner.sink.waiting()[f"{TOPIC}/{NUMBER}"] == {"records": 0, "bytes": 0, "seconds": 0.0}


async def test_a_partition_that_is_handed_over_puts_what_waits(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    owner = await Owner(bucket, group, flush_s=1_000.0).open()
    kafka.produce(3)
    await owner.read(kafka)
    await owner.committer.close()
    assert (bucket.pieces(), group.offset, owner.sink.waiting()) == ([Piece(0, 2)], 3, {})


async def test_a_hand_over_does_not_wait_for_a_bucket_that_does_not_answer(
    bucket: MemoryBucket, group: Group, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "CLOSE_FLUSH_S", 0.01)
    owner = await Owner(bucket, group, flush_s=1_000.0).open()
    kafka.produce(3)
    await owner.read(kafka)
    monkeypatch.setattr(bucket, "put_new", lambda *_: asyncio.sleep(1_000))
    await owner.committer.close()
    assert (bucket.objects, group.offset) == ({}, None)


# -- rivals and outages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rival", "own"), [(2, 5), (5, 2), (3, 3)])
async def test_of_two_that_stand_at_one_offset_the_second_goes_on_after_the_first(
    bucket: MemoryBucket, group: Group, kafka: Kafka, rival: int, own: int
) -> None:
    first, second = [await Owner(bucket, group).open() for _ in range(2)]
    kafka.produce(8)
    await first.read(kafka, rival)
    await second.read(kafka, own)
    await first.committer.check()
    await second.committer.check()
    ends = [Piece(0, rival - 1), *([Piece(rival, own - 1)] if own > rival else [])]
    assert bucket.pieces() == ends
    await second.read(kafka)
    await second.committer.check()
    assert [row["offset"] for row in bucket.rows()] == list(range(8))
    assert second.sink.counts["refused"] >= 1
    assert first.sink.counts["records"] + second.sink.counts["records"] == 8


async def test_one_that_is_refused_again_and_again_opens_anew(
    bucket: MemoryBucket, group: Group, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await Owner(bucket, group).open()
    kafka.produce(3)
    await owner.read(kafka)

    async def refused(*_: object) -> None:
        return None

    monkeypatch.setattr(bucket, "put_new", refused)
    with pytest.raises(SinkAwayError, match="another worker is archiving"):
        await owner.committer.check()


@pytest.mark.parametrize("fate", ["lost", "failed", "late"])
async def test_a_put_without_an_answer_is_found_out_by_the_next_opening(
    bucket: MemoryBucket, group: Group, kafka: Kafka, fate: str
) -> None:
    owner = await archived(bucket, group, kafka, 2)
    bucket.fates = [fate]
    kafka.produce(3)
    await owner.read(kafka)
    with pytest.raises(SinkAwayError):
        await owner.committer.check()
    await owner.committer.close()
    await owner.open()
    assert owner.position == (5 if fate == "lost" else 2)
    bucket.land()
    kafka.produce(1)
    await owner.read(kafka)
    await owner.committer.check()
    assert [row["offset"] for row in bucket.rows()] == list(range(6))


async def test_while_the_bucket_is_away_nothing_waits_and_later_all_is_there(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    owner = await archived(bucket, group, kafka, 2)
    kafka.produce(3)
    await owner.read(kafka)
    bucket.is_away = True
    with pytest.raises(SinkAwayError):
        await owner.committer.check()
    await owner.committer.close()
    assert owner.sink.waiting() == {}
    with pytest.raises(SinkAwayError):
        await owner.open()
    bucket.is_away = False
    await owner.open()
    await owner.read(kafka)
    await owner.committer.check()
    assert [row["offset"] for row in bucket.rows()] == list(range(5))


async def test_the_groups_refusal_disturbs_nothing(bucket: MemoryBucket, group: Group, kafka: Kafka) -> None:
    group.refuses = True
    await archived(bucket, group, kafka, 2, 2)
    assert (bucket.pieces(), group.offset) == ([Piece(0, 1), Piece(2, 3)], None)


async def test_partitions_and_roots_have_places_of_their_own(bucket: MemoryBucket, group: Group, kafka: Kafka) -> None:
    await archived(bucket, group, kafka, 2)
    other = ArchiveSink(bucket, cast(TransactionalApp, group), prefix="shops/one/", flush_bytes=1, flush_s=0.0)
    owner = Owner(bucket, group)
    owner.sink = other
    await owner.open()
    await owner.read(kafka)
    assert sorted(bucket.objects) == [
        f"changes/{TOPIC}/00003/{0:020d}.parquet",
        f"shops/one/changes/{TOPIC}/00003/{0:020d}.parquet",
    ]
    assert owner.sink.counts["objects"] == 1
    assert TP(TOPIC, NUMBER) in owner.sink.open


async def test_what_was_put_is_counted(bucket: MemoryBucket, group: Group, kafka: Kafka) -> None:
    owner = await archived(bucket, group, kafka, 2, 3)
    sizes = sum(len(content) for content, _ in bucket.objects.values())
    assert owner.sink.counts == {"records": 5, "objects": 2, "bytes": sizes, "refused": 0}
    await owner.sink.on_shutdown()
    assert bucket.is_away


# -- the topic's id ---------------------------------------------------------------------------------------------------


async def test_objects_say_which_life_of_the_topic_they_are_from(
    bucket: MemoryBucket, group: Group, kafka: Kafka
) -> None:
    owner = await archived(bucket, group, kafka, 2)
    assert await owner.committer.source_ids() == {}, "written by an earlier release, or before the id was known"
    await owner.committer.keep_source_ids({TOPIC: "a" * 32})
    for _ in range(2):
        kafka.produce(1)
        await owner.read(kafka)
        await owner.committer.check()
        owner = await Owner(bucket, group).open()
        assert await owner.committer.source_ids() == {TOPIC: "a" * 32}
