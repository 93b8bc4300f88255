"""Goal: the metrics of a connector's watch are served while it runs, at an address that is checked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from ops.cli import parser
from ops.connector.exposition import WatchCollector
from ops.connector.slots import Slot
from ops.connector.watch import ConnectorWatch
from stack.errors import StackError
from stack.ports import free_ports
from streams.adapters.exposition import exposed

NAME = "shop-connector"
WATCH = cast(ConnectorWatch, SimpleNamespace(is_up=True, is_sweep_due=False))


def test_the_metrics_of_a_watch_are_served_until_it_ends() -> None:
    [port] = free_ports(["metrics"]).values()
    address, collector = ("127.0.0.1", port), WatchCollector(NAME, WATCH, lambda: None)
    with exposed(address, collector, error=StackError):
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        values = {sample.name: sample.value for f in text_string_to_metric_families(text) for sample in f.samples}
        assert values == {"millrace_connector_up": 1, "millrace_connector_sweep_due": 0}
        with pytest.raises(StackError, match="--metrics"), exposed(address, collector, error=StackError):
            pass
    with exposed(address, collector, error=StackError):
        pass  # the port is free again


def test_the_slots_lag_is_served_as_long_as_the_database_answers() -> None:
    answers: list[int | None] = [5, None]

    def slot() -> Slot | None:
        lag = answers.pop(0)
        if lag is None:
            raise StackError("the database does not answer")
        return Slot(name="shop", reader=1, kept_from=1, confirmed=2, wal_status="reserved", lag_bytes=lag, kept_bytes=6)

    collector = WatchCollector(NAME, WATCH, slot)
    found, away = ({s.name: s.value for family in collector.collect() for s in family.samples} for _ in range(2))
    assert (found["millrace_slot_lag_bytes"], found["millrace_slot_kept_bytes"]) == (5, 6)
    assert away == {"millrace_connector_up": 1, "millrace_connector_sweep_due": 0}


def test_without_an_address_nothing_is_served() -> None:
    with exposed(None, WatchCollector(NAME, WATCH, lambda: None), error=StackError):
        pass


@pytest.mark.parametrize("text", ["9404", ":9404", "a:", "a:b", "a:0", "a:65536"])
def test_an_address_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser("connector").parse_args(["connector", "watch", "--metrics", text])
    assert "such as 127.0.0.1:9404" in capsys.readouterr().err


def test_an_address_is_a_host_and_a_port() -> None:
    arguments = parser("connector").parse_args(["connector", "watch", "--metrics", "[::1]:9404"])
    assert arguments.metrics == ("::1", 9404)
