"""Goal: processor time is charged to the right process.

Method: texts as the kernel writes them, and this process itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from bench.machine import Spent, TreeMeter, busy_s, foreign_share, parsed_usage, tree_usage, usage_of

TICKS = os.sysconf("SC_CLK_TCK")


def spent(machine_s: float) -> Spent:
    return Spent(machine_s=machine_s, measured_s=3.0, servers_s=2.0, meter_s=1.0)


def test_what_nobody_measured_took_is_foreign() -> None:
    assert foreign_share(spent(10.0), wall_s=20.0, cores=2) == pytest.approx(0.1)


def test_rounding_of_the_clocks_makes_no_negative_share() -> None:
    assert foreign_share(spent(5.9), wall_s=20.0, cores=2) == 0.0


def test_only_what_was_spent_in_between_counts() -> None:
    after = Spent(machine_s=30.0, measured_s=8.0, servers_s=6.0, meter_s=4.0)
    assert after.since(spent(10.0)) == Spent(machine_s=20.0, measured_s=5.0, servers_s=4.0, meter_s=3.0)


def test_idle_time_and_waiting_for_a_disk_are_not_busy_and_guests_do_not_count_twice() -> None:
    #              user nice system idle iowait irq softirq steal guest guest_nice
    assert busy_s("cpu  100 20 30 5000 600 4 5 6 70 8") == pytest.approx(165 / TICKS)


def test_a_process_counts_with_its_children_that_have_ended_whatever_its_name() -> None:
    fields = ["S", *["0"] * 10, "10", "20", "30", "40", *["0"] * 6, "7", *["0"] * 20]
    usage = parsed_usage("42 (a name) with) 1 2 3) " + " ".join(fields))
    assert usage.cpu_s == pytest.approx(100 / TICKS)
    assert usage.rss_bytes == 7 * os.sysconf("SC_PAGE_SIZE")


def test_a_process_that_has_ended_takes_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert usage_of(child.pid).rss_bytes == tree_usage(child.pid).rss_bytes == 0


def test_a_tree_includes_the_children_that_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert tree_usage(os.getpid()).rss_bytes > usage_of(os.getpid()).rss_bytes
    finally:
        child.communicate()


def test_a_meter_keeps_what_has_ended_and_what_lost_its_parent() -> None:
    work = "sum(range(3_000_000))"
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; {work}; time.sleep(1)'])"
    code = f"{orphan}; {work}; import time; time.sleep(0.3)"
    process = subprocess.Popen([sys.executable, "-c", code])
    meter, alone = TreeMeter(), 0
    while meter.sample(process.pid):
        alone += process.poll() is not None
        time.sleep(0.01)
    assert alone, "the child was watched after its parent had ended"
    assert meter.cpu_s >= 2 / TICKS
    assert meter.rss_bytes > 0
    assert meter.sample(process.pid) is False
