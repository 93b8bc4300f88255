"""Goal: an alert and a panel ask only for metrics that a worker exposes, and an alert leads to a page and a command.

Method: the rules and panels are taken apart, and compared with what the collectors of a worker yield. `promtool`
evaluates the rules in `tests/streams/ops/test_alerts.py`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from batch.pipeline.exposition import LakeCollector
from batch.pipeline.job_record import Comparison
from batch.pipeline.manifest import TableRun
from ops.connector.exposition import WatchCollector
from ops.connector.slots import Slot
from ops.connector.source_columns import Difference
from streams.model.table_read import TableRead
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.web.metrics import exposition
from streams.runtime.web.pages import CountedCollector
from streams.runtime.web.rules import Rule
from tables.views.archive import WaitingCollector
from tables.views.incomplete import IncompleteCollector
from tables.views.redis_memory import RedisMemory, RedisMemoryCollector
from tables.views.rules import ORDER_RULES
from tests.support.reference.monitoring import PANELS, dashboard_file
from tests.test_docs import ROOT, anchors, assert_understood
from tests.unit.runtime.test_stats import LAGS, FakeApp

METRIC = re.compile(r"\bmillrace_[a-z_]+")
WAITING = {"orders/0": {"records": 1.0, "bytes": 1.0, "seconds": 1.0}}


def exposed() -> set[str]:
    """The names of all series that workers, the watch over the connector and the lake's service expose."""
    app = cast(TransactionalApp, FakeApp())
    empty = cast(TransactionalApp, SimpleNamespace(partition_supervisor=SimpleNamespace(partitions=[])))
    counted = {
        "orders": SimpleNamespace(counts=Counter(overdue=0, completed=0)),
        "guard": SimpleNamespace(counts=Counter(emitted_twice=0)),
        "warehouse": SimpleNamespace(counts=Counter(refused=0)),
    }
    slot = cast(Slot, SimpleNamespace(lag_bytes=1, kept_bytes=2))
    reads = [TableRead(table="orders", rows=1, estimated=2, is_under_way=True)]
    watched = SimpleNamespace(is_up=True, is_sweep_due=False)
    differences = [Difference(table="orders", text="", is_wrong=True)]
    watch = WatchCollector("shop-connector", watched, lambda: slot, lambda: reads, lambda: differences)
    comparison = Comparison(verdict="equal", at=0.0, different=[])
    lake = LakeCollector("shop", every_s=10, compared=lambda: comparison)
    lake.ran(0.0, [TableRun(layer="gold", table="orders")])
    memory = RedisMemory(cast(Any, None))
    memory.used_bytes, memory.limit_bytes = 1, 2
    extra = [
        watch,
        lake,
        RedisMemoryCollector(memory),
        CountedCollector(counted),
        IncompleteCollector(empty),
        WaitingCollector(lambda: WAITING),
    ]
    text = exposition(app, LAGS, extra).decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def test_rules_and_panels_ask_only_for_metrics_that_a_worker_exposes() -> None:
    queries = [rule.expression for rule in ORDER_RULES] + [q for _, _, targets in PANELS for q in targets.values()]
    assert {name for query in queries for name in METRIC.findall(query)} - exposed() == set()


def test_a_panel_has_a_place_of_its_own() -> None:
    panels: list[dict[str, Any]] = json.loads(dashboard_file())["panels"]
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("rule", ORDER_RULES, ids=lambda rule: rule.name)
def test_an_alert_leads_to_a_page_and_a_command_that_exist(rule: Rule) -> None:
    page, _, anchor = rule.docs.partition("#")
    text = (ROOT / page).read_text()
    assert not anchor or anchor in anchors(text)
    assert rule.summary
    assert rule.impact.endswith(".")
    program, *words = rule.do.split()
    if program == "millrace":
        assert_understood([program, *words])
    else:
        assert program == "curl"


def test_each_alert_has_a_name_of_its_own() -> None:
    assert len({rule.name for rule in ORDER_RULES}) == len(ORDER_RULES)
