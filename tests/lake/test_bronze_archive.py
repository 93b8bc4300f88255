"""Goal: the objects of an archive on object storage are found, from the offset on that a run wants.

Method: a real MinIO with objects that have the metadata of `streams.archive`; each is half of a Parquet file, as if its
end had been cut off, because their content does not matter here.
"""

from __future__ import annotations

import io
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from minio import Minio
from pyspark.sql import SparkSession

from batch.bronze.archive import damage_reported, find_objects, read_objects
from batch.errors import BatchError
from config.settings import ObjectStoreSettings
from stack.local import Stack
from streams.model.archive_chain import LAST_OFFSET, RECORDS, ChainBrokenError, object_name


def half_an_object(topic: str) -> bytes:
    """The first half of an archive object with a thousand records."""
    rows = {"topic": [topic] * 1_000, "offset": list(range(1_000)), "value": [b"{}"] * 1_000}
    file = io.BytesIO()
    pq.write_table(pa.table(rows), file, compression="zstd")
    whole = file.getvalue()
    return whole[: len(whole) // 2]


@pytest.fixture
def topic(lake_stack: Stack) -> str:
    """A topic with a chain of three objects in partition 0, and one in partition 12."""
    settings = ObjectStoreSettings.read(lake_stack.environment())
    address = settings.endpoint.removeprefix("http://")
    store = Minio(address, access_key=settings.access_key, secret_key=settings.secret_key, secure=False)
    name = f"mysql.test.{uuid.uuid4().hex}"
    half = half_an_object(name)
    for partition, start, last in ((0, 0, 9), (0, 10, 14), (0, 15, 15), (12, 0, 4)):
        metadata: dict[str, str | list[str] | tuple[str]] = {LAST_OFFSET: str(last), RECORDS: "1"}
        store.put_object("bronze", object_name(name, partition, start), io.BytesIO(half), len(half), metadata=metadata)
    return name


def test_all_objects_are_found_and_where_they_end(spark_on_minio: SparkSession, topic: str) -> None:
    found = find_objects(spark_on_minio, f"s3a://bronze/changes/{topic}", {})
    assert [path.partition(topic)[2] for path in found.paths] == [
        "/00000/00000000000000000000.parquet",
        "/00000/00000000000000000010.parquet",
        "/00000/00000000000000000015.parquet",
        "/00012/00000000000000000000.parquet",
    ]
    assert (found.first, found.following) == ({0: 0, 12: 0}, {0: 16, 12: 5})
    fault = r"bronze/orders: .* s3a://bronze/changes/\S+\.parquet is damaged"
    with pytest.raises(BatchError, match=fault), damage_reported("orders"):
        read_objects(spark_on_minio, found).count()


def test_objects_that_were_read_are_left_out(spark_on_minio: SparkSession, topic: str) -> None:
    found = find_objects(spark_on_minio, f"s3a://bronze/changes/{topic}", {0: 12, 12: 5})
    assert [path.rpartition("/")[2] for path in found.paths] == [
        "00000000000000000010.parquet",
        "00000000000000000015.parquet",
    ]
    assert (found.first, found.following) == ({0: 12}, {0: 16})


def test_a_topic_without_an_archive_has_none(spark_on_minio: SparkSession) -> None:
    assert find_objects(spark_on_minio, "s3a://bronze/changes/mysql.test.never", {}).paths == ()


def test_a_missing_object_is_an_error(spark_on_minio: SparkSession, lake_stack: Stack, topic: str) -> None:
    settings = ObjectStoreSettings.read(lake_stack.environment())
    address = settings.endpoint.removeprefix("http://")
    store = Minio(address, access_key=settings.access_key, secret_key=settings.secret_key, secure=False)
    store.remove_object("bronze", object_name(topic, 0, 10))
    with pytest.raises(ChainBrokenError):
        find_objects(spark_on_minio, f"s3a://bronze/changes/{topic}", {})
