"""A process that appends rows to a table of the lake: `python -m tests.faults.lake.writer SAFEGUARD PATH NAME`.

It says `ready`, then reads how many commits to make from each line of its input; each is `kept N` or `rejected N`.
"""

from __future__ import annotations

import sys

from batch.delta.table import LakeTable
from batch.errors import BatchError
from batch.spark.session import spark_session
from config.settings import ObjectStoreSettings, SparkSettings
from tests.faults.lake import program

SCHEMA = "writer STRING, number INT"


def main(path: str, name: str) -> None:
    """Append a row per commit, as many as is asked for."""
    spark = spark_session(SparkSettings.read(), ObjectStoreSettings.read(), app=name)
    table, number = LakeTable(spark, path, f"bronze/{name}"), 0
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            row = spark.createDataFrame([(name, number)], SCHEMA).coalesce(1)
            try:
                table.append(row, run_id=name, progress={"done": number})
                print(f"kept {number}", flush=True)
            except BatchError:
                print(f"rejected {number}", flush=True)
            number += 1
        print("done", flush=True)
    spark.stop()


if __name__ == "__main__":
    program.SAFEGUARDS[sys.argv[1]]()
    main(*sys.argv[2:])
