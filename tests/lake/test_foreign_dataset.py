"""Goal: a definition that was drafted from a database that is not ours runs: Bronze and Silver have its rows.

Method: the shop of `hire_shop.sql` on a real MariaDB; the definition as the command writes it; values that every type
can hold, read back from the lake.
"""

from __future__ import annotations

import datetime
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from batch import bronze
from batch.silver import refine
from config.database_settings import DatabaseSettings
from config.dataset import load_definition
from ops.cli import main
from stack.local import Stack
from stack.servers.mariadb import OWNER_USER, socket_path
from stack.site import REPOSITORY
from tests.support.lake.bronze_testbed import run_context

ROWS = """
INSERT INTO instrument
(`on`, title, story, built, family, extras, day_rate, weight, is_tuned, serial, bought, last_update) VALUES
(1, 'Laute – „alt“', NULL, 1999, 'strings', 'case,bow', 12.50, 1.25, b'1', 7, '2020-02-29', '2025-01-02 03:04:05.06'),
(0, 'Horn', 'long', NULL, 'wind', NULL, 0.05, NULL, b'0', NULL, NULL, '2025-01-02 03:04:06');
INSERT INTO maker VALUES (3, 'Stainer', '2025-01-01 00:00:00');
INSERT INTO instrument_maker VALUES (1, 3), (2, 3);
"""
NAMES = ("instrument_id", "on", "title", "built", "extras", "day_rate", "weight", "is_tuned", "serial", "bought")


@pytest.fixture
def hire_shop(lake_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseSettings:
    """The shop with some rows, and a dataset that was drafted from it."""
    settings = DatabaseSettings.read(lake_stack.environment())
    schema = (REPOSITORY / "tests" / "hire_shop.sql").read_text()
    grant = f"GRANT SELECT ON `hire\\_shop`.* TO '{OWNER_USER}'@'127.0.0.1'"
    begin = "SET time_zone = '+00:00'; CREATE OR REPLACE DATABASE hire_shop; USE hire_shop;"
    command = ["mariadb", "--no-defaults", "--host=localhost", "--default-character-set=utf8mb4"]
    command.append(f"--socket={socket_path(lake_stack.site)}")
    run = subprocess.run(command, input=f"{begin}{schema}{ROWS}{grant}", capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    monkeypatch.setenv("DATASETS_DIR", str(tmp_path / "datasets"))
    monkeypatch.setenv("MYSQL_PASSWORD", settings.password)
    assert main(["dataset", "init", f"mysql://{settings.user}@{settings.host}:{settings.port}/hire_shop"]) == 0
    return settings


def test_a_drafted_definition_runs(spark: SparkSession, tmp_path: Path, hire_shop: DatabaseSettings) -> None:
    definition = load_definition("hire_shop")
    context = run_context(spark, tmp_path, definition=definition, database=hire_shop)
    for name in ("instrument", "instrument_maker"):
        table = definition.table(name)
        assert bronze.land(table, context).rows_written == 2
        refined = refine.refine(table, context)
        assert (refined.rows_written, refined.rejected) == (2, {})
    rows = context.table("silver", "instrument").read().orderBy("instrument_id").select(*NAMES).collect()
    assert [tuple(row) for row in rows] == [
        (1, 1, "Laute – „alt“", 1999, "case,bow", Decimal("12.50"), 1.25, True, 7, datetime.date(2020, 2, 29)),
        (2, 0, "Horn", None, None, Decimal("0.05"), None, False, None, None),
    ]
    pairs = context.table("silver", "instrument_maker").read().select("instrument_id", "maker_id").collect()
    assert {tuple(row) for row in pairs} == {(1, 3), (2, 3)}
