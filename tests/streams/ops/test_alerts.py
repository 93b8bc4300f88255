"""Goal: each alert fires when its condition holds, and is over when it does not hold any more.

Method: Prometheus' own `promtool` evaluates the shipped rules over made-up series, one case for each alert.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pytest import Subtests  # noqa: PT013

from stack.site import REPOSITORY
from tables.views.rules import ORDER_RULES
from tests.support.prometheus import RULES, prometheus_program

SETTINGS: Final = REPOSITORY / "config" / "prometheus" / "prometheus.yaml"
INTERVAL_S: Final = 30


@dataclass(frozen=True)
class Case:
    """Series of samples every `INTERVAL_S` seconds in promtool's notation, and when the alert fires and is over."""

    series: Mapping[str, str]
    labels: Mapping[str, str]
    fires_at_s: int
    over_at_s: int


A: Final = {"instance": "a"}
PLACE: Final = {"instance": "a", "topic": "orders", "partition": "1"}


def one(name: str, labels: Mapping[str, str], values: str, fires_at_s: int, over_at_s: int) -> Case:
    """A case with one series."""
    text = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return Case({f"{name}{{{text}}}": values}, labels, fires_at_s, over_at_s)


CASES: Final[Mapping[str, Case]] = {
    "WorkerDown": one("up", {**A, "job": "millrace"}, "1x2 0x4 1x10", 180, 300),
    "PartitionNotRunning": one("millrace_partition_running", {**A, "partition": "0"}, "1x1 0x5 1x10", 180, 300),
    "OrdersLate": Case(
        {
            'millrace_visible_seconds_bucket{le="2.0"}': "0+5x20 110+10x60",
            "millrace_visible_seconds_count": "0+10x20 210+10x60",
        },
        {},
        420,
        1_020,
    ),
    "Behind": one("millrace_lag_seconds", PLACE, "0x3 90+30x6 0x10", 240, 600),
    "NoCommit": Case(
        {
            'millrace_lag_records{instance="a",partition="0"}': "0x1 5x9 0x10",
            'millrace_turn_seconds_count{instance="a"}': "7x30",
        },
        A,
        210,
        450,
    ),
    "DeadLettersGrow": one("millrace_dead_letters_total", A, "0x2 3x60", 120, 780),
    "ServerAway": one("millrace_away_seconds", {**A, "part": "guard"}, "0x2 15x3 0x10", 120, 300),
    "SourceHeldUp": one("millrace_held_up_seconds", PLACE, "0x2 15x3 0x10", 120, 300),
    "KafkaUnanswered": one("millrace_end_offsets_age_seconds", A, "1x2 40x5 1x10", 150, 420),
    "DiskFillsUp": one("millrace_disk_free_bytes", A, "1000000000-1000000x200 800000000x900", 3_600, 28_800),
    "ConnectorDown": one("millrace_connector_up", {**A, "connector": "shop"}, "1x2 0x4 1x10", 180, 300),
    "LakeStale": Case(
        {
            'millrace_lake_table_age_seconds{instance="a",dataset="d",layer="gold",table="t"}': "10x2 95x3 10x10",
            'millrace_lake_interval_seconds{instance="a",dataset="d"}': "10x20",
        },
        {**A, "dataset": "d", "layer": "gold", "table": "t"},
        120,
        300,
    ),
    "LakeDifferent": one("millrace_lake_tables_different", {**A, "dataset": "d"}, "0x2 2x3 0x10", 120, 300),
    "SourceDiffers": one(
        "millrace_source_differences", {**A, "connector": "shop", "table": "orders"}, "0x2 1x3 0x10", 120, 300
    ),
    "SlotLag": one("millrace_slot_lag_bytes", {**A, "connector": "shop"}, "0x2 2000000000x20 0x10", 480, 780),
    "RedisFillsUp": Case(
        {
            'millrace_redis_used_bytes{instance="a"}': "100000000+1000000x200 300000000x900",
            'millrace_redis_limit_bytes{instance="a"}': "1000000000x1101",
        },
        A,
        3_600,
        28_800,
    ),
    "OrdersOverdue": one("millrace_orders_total", {**A, "event": "overdue"}, "0x2 1x60", 120, 1_080),
    "OrdersHeld": one(
        "millrace_orders_incomplete", {**A, "reason": "held_by_another_deployment"}, "0x2 2x20 0x10", 450, 780
    ),
    "EmittedTwice": one("millrace_guard_total", {**A, "event": "emitted_twice"}, "0x2 1x60", 120, 1_080),
}


def scenario(name: str) -> dict[str, Any]:
    """The case of an alert in promtool's form: it fires with its labels and notes, and is over later."""
    [alert] = [
        rule
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if rule["alert"] == name
    ]
    case = CASES[name]
    fired = {"exp_labels": {**case.labels, **alert["labels"]}, "exp_annotations": alert["annotations"]}
    return {
        "interval": f"{INTERVAL_S}s",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": "0s", "alertname": name, "exp_alerts": []},
            {"eval_time": f"{case.fires_at_s}s", "alertname": name, "exp_alerts": [fired]},
            {"eval_time": f"{case.over_at_s}s", "alertname": name, "exp_alerts": []},
        ],
    }


def file_with(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """A file for `promtool test rules` that evaluates the rules with each sample."""
    return {"rule_files": [str(RULES)], "evaluation_interval": f"{INTERVAL_S}s", "tests": [scenario]}


def promtool(*arguments: str) -> None:
    """Run promtool; its output is the failure."""
    done = subprocess.run([prometheus_program("promtool"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_rules_and_the_settings() -> None:
    promtool("check", "config", str(SETTINGS))


def test_each_alert_fires_and_is_over_again(tmp_path: Path, subtests: Subtests) -> None:
    assert CASES.keys() == {rule.name for rule in ORDER_RULES}, "each alert has a case"
    for name in CASES:
        with subtests.test(alert=name):
            path = tmp_path / f"{name}.yaml"
            path.write_text(yaml.safe_dump(file_with(scenario(name))))
            promtool("test", "rules", str(path))
