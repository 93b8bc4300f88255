"""Goal: a Spark session starts, works and ends without a line on the terminal, and its log quotes no value of a row.

Method: a fresh process, because Java prints its warnings once, when it starts.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from config.settings import SparkSettings, environment_with

_PROGRAM = """
import logging
import sys
from batch.spark.session import spark_session
from config.settings import SparkSettings
spark = spark_session(SparkSettings.read(), None, app="output")
spark.range(3).write.format("delta").save(f"file://{sys.argv[1]}")
print(spark.read.format("delta").load(f"file://{sys.argv[1]}").count())
logging.getLogger("SQLQueryContextLogger").disabled = True  # as the commands do
values = f"file://{sys.argv[1]}-values"
spark.range(3).selectExpr("concat('Canary ', id, ' of\\n nowhere') AS v").write.parquet(values)
for expression in ("CAST(v AS INT)", "map(v, 1, v, 2)", "from_json(v, 'a INT', map('mode', 'FAILFAST'))"):
    try:
        spark.read.parquet(values).selectExpr(expression).write.format("noop").mode("append").save()
    except Exception as error:
        print("Canary" in str(error))
spark.stop()
"""

_CONDITIONS = ("CAST_INVALID_INPUT", "DUPLICATED_MAP_KEY", "MALFORMED_RECORD_IN_PARSING")


def test_a_session_prints_nothing_of_its_own_and_logs_no_values(spark_settings: SparkSettings, tmp_path: Path) -> None:
    settings = {"SPARK_JARS": str(spark_settings.jars), "SPARK_DRIVER_MEMORY": "1g", "SPARK_CLASS_DATA": "false"}
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path / "table")],
        env=environment_with(settings | {"SPARK_MASTER": "local[2]", "LOG_DIR": str(tmp_path)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "3\nTrue\nTrue\nTrue\n", "")
    log = (tmp_path / "spark.log").read_text()
    assert {*_CONDITIONS} <= {*re.findall(r"\w+", log)}
    assert "Canary" not in log
