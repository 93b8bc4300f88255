"""Goal: the metrics of the service say how old each table is, and what the last comparison found.

Method: runs that are lists of outcomes, a fake Redis, and a clock that is set by hand.
"""

from __future__ import annotations

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from batch.__main__ import parser
from batch.errors import BatchError
from batch.pipeline.exposition import LakeCollector
from batch.pipeline.job_record import Comparison, JobRecord
from batch.pipeline.manifest import TableRun
from stack.ports import free_ports
from streams.adapters.exposition import exposed
from tests.support.lake.fake_redis import FakeRedis

EQUAL = Comparison(verdict="equal", at=5.0, different=[])


class Service:
    """A collector whose clock stands at `now`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.comparison: Comparison | None = None
        self.collector = LakeCollector("shop", every_s=10, compared=lambda: self.comparison, clock=lambda: self.now)

    def ran(self, began_at: float, *tables: TableRun) -> None:
        self.collector.ran(began_at, tables)

    def values(self) -> dict[str, float]:
        """The samples, those of tables keyed by the table."""
        samples = [sample for metric in self.collector.collect() for sample in metric.samples]
        return {sample.labels.get("table", sample.name): sample.value for sample in samples}


def table(name: str, *, layer: str = "gold", error: str | None = None, behind: tuple[str, ...] = ()) -> TableRun:
    return TableRun(layer=layer, table=name, error=error, behind=list(behind))


def test_a_table_ages_until_a_run_leaves_it_up_to_date() -> None:
    service = Service()
    service.ran(100.0, table("orders"), table("lines"))
    service.now = 130.0
    assert {name: service.values()[name] for name in ("orders", "lines")} == {"orders": 30.0, "lines": 30.0}
    service.ran(120.0, table("orders"), table("lines", error="no column"))
    values = service.values()
    assert (values["orders"], values["lines"], values["millrace_lake_failed_tables"]) == (10.0, 30.0, 1.0)
    assert values["millrace_lake_interval_seconds"] == 10.0


def test_a_table_that_is_made_of_one_that_failed_ages_too() -> None:
    service = Service()
    service.ran(0.0, table("facts"))
    service.ran(20.0, table("facts", behind=("silver/orders",)))
    held = table("days")
    held.held_by = ["gold/facts"]
    service.ran(40.0, held)
    service.now = 50.0
    assert service.values()["facts"] == 50.0


def test_the_freshness_of_each_table_is_recorded_until_the_service_ends() -> None:
    redis, printed = FakeRedis(), list[str]()
    record = JobRecord(redis, "shop", printed.append)
    record.fresh(100.0, [table("orders"), table("lines")], every_s=10.0)
    JobRecord(redis, "shop", printed.append).fresh(120.0, [table("orders"), table("lines", error="x")], every_s=10.0)
    hash_ = redis.hashes["batch_freshness:shop"]
    assert hash_ == {"fresh_at": '{"gold/orders":120.0,"gold/lines":100.0}', "every_s": "10"}
    record.fresh(130.0)
    assert redis.hashes["batch_freshness:shop"] == {"fresh_at": hash_["fresh_at"]}, "no service, no interval"
    redis.is_away = True
    record.fresh(140.0, [table("orders")], every_s=10.0)
    assert printed == [], "the record of the run says that Redis is away"


def test_a_clock_that_goes_back_makes_no_negative_age() -> None:
    service = Service()
    service.ran(100.0, table("orders"))
    service.now = 90.0
    assert service.values()["orders"] == 0.0


def test_the_last_comparison_is_there_once_there_was_one() -> None:
    service = Service()
    assert "millrace_lake_tables_different" not in service.values()
    service.comparison = Comparison(verdict="different", at=7.0, different=["orders", "lines"])
    values = service.values()
    assert values["millrace_lake_tables_different"] == 2.0
    assert values["millrace_lake_compared_time_seconds"] == 7.0


def test_a_comparison_is_read_as_it_was_recorded() -> None:
    redis, printed = FakeRedis(), list[str]()
    record = JobRecord(redis, "shop", printed.append)
    assert record.last_comparison() is None
    record.compared(EQUAL)
    assert record.last_comparison() == EQUAL
    redis.is_away = True
    assert record.last_comparison() is None
    record.compared(EQUAL)
    assert len(printed) == 1


def test_the_metrics_are_served_while_the_service_runs() -> None:
    [port] = free_ports(["metrics"]).values()
    collector = Service().collector
    with exposed(("127.0.0.1", port), collector, error=BatchError):
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        assert "millrace_lake_interval_seconds" in {family.name for family in text_string_to_metric_families(text)}
        again = exposed(("127.0.0.1", port), collector, error=BatchError)
        with pytest.raises(BatchError, match="--metrics"), again:
            pass
    with exposed(None, collector, error=BatchError):
        pass


def test_a_single_run_serves_none(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = parser().parse_args(["run", "--metrics", "127.0.0.1:9405"])
    with pytest.raises(BatchError, match="--metrics needs --every"):
        arguments.run(arguments)
