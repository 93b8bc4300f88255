"""A process that appends rows to a table of the lake: `python -m tests.lake.writer PATH NAME COUNT`.

It says `ready` once it has written its first row, and begins with the others at the end of its input.
"""

from __future__ import annotations

import sys

from batch.delta.table import LakeTable
from batch.spark.session import spark_session
from config.settings import ObjectStoreSettings, SparkSettings


def main(path: str, name: str, count: int) -> None:
    """Append `count` rows, one commit each."""
    spark = spark_session(SparkSettings.read(), ObjectStoreSettings.read(), app=name)
    table = LakeTable(spark, path, f"bronze/{name}")
    for number in range(count):
        row = spark.createDataFrame([(name, number)], "writer STRING, number INT").coalesce(1)
        table.append(row, run_id=name, progress={"done": number})
        if number == 0:
            print("ready", flush=True)
            sys.stdin.read()
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
