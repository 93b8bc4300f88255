"""Uses the storage and the source database of the settings as Spark and delta-rs do, and prints what it has seen.

It runs in a process of its own, since Java chooses whom to trust once.
"""

from __future__ import annotations

import json
import sys

from batch.delta.delta_rs_location import DeltaRsLocation
from batch.spark.session import spark_session
from config.database_settings import DatabaseSettings
from config.engines import ENGINES
from config.settings import ObjectStoreSettings, SparkSettings

CIPHER = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_CIPHER'"


def main(location: str) -> None:
    """Write a Delta table with Spark, read it with delta-rs, and ask the database how the connection is encrypted."""
    spark = spark_session(SparkSettings.read(), ObjectStoreSettings.read(), app="encrypted")
    spark.range(3).write.format("delta").save(location)
    table = DeltaRsLocation(spark, location).newest()
    options = ENGINES["mysql"].jdbc(DatabaseSettings.read(), "information_schema", None)
    ((cipher,),) = spark.read.format("jdbc").options(**options, query=CIPHER).load().collect()
    print(json.dumps({"version": table.version() if table else None, "cipher": cipher}))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])
