"""Goal: with a service at work, a commit is in Gold after a few runs' time; SIGTERM ends the service after its run.
Java and Spark print nothing of their own on its terminal.

Method: orders are placed at a pace beside `python -m batch run --every 5s`; their row in Silver tells the run that took
them, the run's manifest when it became visible. How long that takes is printed; nothing is asserted about seconds.
"""

from __future__ import annotations

import re
import signal
import subprocess
from datetime import UTC, datetime
from typing import Final

from tests.lake.commands.freshness import freshness, place_orders
from tests.support.lake.oracle import differences
from tests.support.lake.testbed import LakeTestbed

OURS: Final = re.compile(r"running every |\d{4}-\d\d-\d\d |  (bronze|silver|gold)/")


def until_idle(process: subprocess.Popen[str]) -> list[str]:
    """Read what the service says until two runs in a row that end from now on have found nothing new."""
    said: list[str] = []
    assert process.stdout is not None
    now, idle = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}", 0
    while idle < 2:
        line = process.stdout.readline()
        assert line, "the service has ended"
        said.append(line)
        if line > now:
            idle = idle + 1 if "nothing new" in line else 0
    return said


def test_orders_of_a_live_shop_reach_gold_by_themselves(testbed: LakeTestbed) -> None:
    testbed.until_archived()
    testbed.batch("run", "--wait")
    process = testbed.process("run", "--every", "5s")
    said = until_idle(process)  # Java has just started
    placed = place_orders(testbed, 20, rate_per_s=2)
    testbed.until_archived()
    said += until_idle(process)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert "stopped by a signal" in rest
    assert [line for line in said if not OURS.match(line)] == []
    assert differences(testbed) == {}
    print(f"commit → Gold, a run every 5 s: {freshness(testbed, placed)}")
