"""Goal: results of Gold are where other programs read them: plain Parquet in a bucket, and JSON in Redis.

Method: a Gold table in a real MinIO, written without Spark, and a real Redis; readers go on while it is replaced.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from batch.delta.delta_rs_location import S3_OPTIONS
from batch.gold.header import parsed
from batch.pipeline.manifest import Manifest
from batch.pipeline.results import PART, SUCCESS, Results
from batch.storage.objects import object_folder
from batch.storage.paths import Lake
from config.dataset import load_definition
from config.settings import ObjectStoreSettings, RedisSettings
from stack.local import Stack
from streams.adapters.redis import RedisConsole

FIRMA = load_definition("firma")
SQL = Path(FIRMA.folder, "gold", "klienci_by_country.sql").read_text("utf-8")
LAKE = Lake(bronze="s3a://bronze", silver="s3a://silver", gold="s3a://gold", prefix="results")
ROOT = "s3a://processed-data/tests"
NOW = datetime.now(UTC)


@pytest.fixture
def store(lake_stack: Stack) -> ObjectStoreSettings:
    return ObjectStoreSettings.read(lake_stack.environment())


def writer(store: ObjectStoreSettings) -> Callable[[int], int]:
    """Writes the next version of the Gold table, all of whose counts are equal; returns its number."""
    options = {
        **S3_OPTIONS,
        "aws_endpoint_url": store.endpoint,
        "aws_region": "us-east-1",
        "aws_access_key_id": store.access_key,
        "aws_secret_access_key": store.secret_key,
    }
    versions = iter(range(100))

    def write(value: int) -> int:
        rows = pa.table({"kraj": [None, *map(str, range(200))], "liczba_klientow": [value] * 201})
        write_deltalake(LAKE.fact("klienci_by_country"), rows, mode="overwrite", storage_options=options)
        return next(versions)

    return write


def test_results_are_replaced_whole_in_the_bucket_and_are_in_redis(
    lake_stack: Stack, store: ObjectStoreSettings
) -> None:
    url = RedisSettings.read(lake_stack.environment()).url
    plan = parsed(f"-- redis: rows\n{SQL}", "klienci_by_country", FIRMA)
    write, folder = writer(store), object_folder(f"{ROOT}/klienci-by-country", store)
    stop, seen = threading.Event(), list[set[int]]()

    def read() -> None:
        while not stop.wait(0.005):
            table = pq.read_table(io.BytesIO(folder.read(PART)))
            seen.append({table.num_rows, *table["liczba_klientow"].to_pylist()})

    with RedisConsole(url, database=0) as redis:
        results = Results(plans=[plan], lake=LAKE, root=ROOT, store=store, redis=redis, say=lambda line: None)

        def publish(value: int) -> None:
            versions = {"gold/klienci_by_country": write(value)}
            results.publish(
                Manifest(run_id="run", dataset="firma", started_at=NOW, ended_at=NOW, tables=[], versions=versions)
            )

        publish(1000)
        reader = threading.Thread(target=read)
        reader.start()
        for value in range(1001, 1010):
            publish(value)
        stop.set()
        reader.join()
        found = json.loads(redis.get("analytics:klienci_by_country") or b"")
    assert folder.names() == [SUCCESS, PART]
    assert seen
    assert all(len(values) == 2 for values in seen)
    assert (len(found["rows"]), found["rows"][0], found["run_id"]) == (
        201,
        {"kraj": "0", "liczba_klientow": 1009},
        "run",
    )
