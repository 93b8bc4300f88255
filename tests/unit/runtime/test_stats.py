"""Goal: what a worker counts is what happened, and Prometheus can read it.

Method: observations at random against a count by hand; the text of the metrics, parsed by Prometheus' own library.
"""

from __future__ import annotations

import math
import platform
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from streams.model.change import Change, Malformed, Tombstone
from streams.model.fold import OWNED_ELSEWHERE
from streams.runtime.faust.app import TransactionalApp
from streams.runtime.faust.source_offsets import SourceLag
from streams.runtime.partition.batch import BatchOwner, OutputRecord, RecordBatch, SourceRecord
from streams.runtime.partition.lifecycle import PartitionState
from streams.runtime.partition.turn import Turn
from streams.runtime.state.changelog import RestoreProgress
from streams.runtime.stats import PHASES, RECORDS_BOUNDS, SECONDS_BOUNDS, Distribution, RuntimeStats
from streams.runtime.testing import Consumed
from streams.runtime.web.metrics import counter, exposition, free_bytes
from tests.support.fakes import TALLY_CODEC, add

# -- counting ---------------------------------------------------------------------------------------------------------


@given(values=st.lists(st.integers(0, 12) | st.floats(0, 1_000, allow_nan=False), max_size=50))
def test_a_distribution_counts_each_observation_in_the_first_bucket_that_holds_it(values: list[float]) -> None:
    distribution = Distribution([1, 2.5, 10])
    distribution.observe_all(values)
    assert [sum(distribution.counts[: i + 1]) for i in range(3)] == [
        sum(value <= bound for value in values) for bound in (1, 2.5, 10)
    ]
    assert sum(distribution.counts) == len(values)
    assert math.isclose(distribution.total, sum(values))


@pytest.mark.parametrize("bounds", [SECONDS_BOUNDS, RECORDS_BOUNDS])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def dead_letter(record: SourceRecord, reason: str) -> OutputRecord:
    return OutputRecord("dead", record.key, record.value)


def turn_of(*changes: Any, at_ms: int = 0) -> Turn:
    turn = Turn(lambda key: None, TALLY_CODEC, dead_letter)
    records = [Consumed("numbers", 0, offset, b"k", b"", at_ms) for offset in range(len(changes))]
    batch = RecordBatch("numbers", 0, 0, records, cast(BatchOwner, None))
    batch.changes = changes
    turn.fold([(batch, lambda state, change: OWNED_ELSEWHERE if change.row == 7 else add(state, change))])
    return turn


def number(offset: int, row: int) -> Change[int]:
    return Change(b"k", row, deleted=False, position=(0, 1, offset, 0))


def stats_after_a_turn() -> RuntimeStats:
    """One turn with a record of each fate, whose output was caused two seconds ago."""
    changes = [number(1, 4), number(1, 4), number(2, 13), number(3, 6), number(4, 7), number(5, 99)]
    turn = turn_of(*changes, Tombstone(), Malformed("why"), at_ms=int((time.time() - 2) * 1000))
    stats = RuntimeStats()
    stats.waited(0.5)
    stats.turn_done(turn, records=8, outputs=1, seconds=0.3, commit_seconds=0.004, publish_seconds=0.1)
    return stats


def test_a_turn_is_counted_by_the_fates_of_its_records() -> None:
    stats = stats_after_a_turn()
    assert (stats.turns, stats.counters) == (
        1,
        {
            "records": 8,
            "outputs": 1,
            "refused": 3,
            "folded": 3,
            "unchanged": 1,
            "left": 1,
            "rejected": 1,
            "failed": 1,
            "tombstones": 1,
            "malformed": 1,
        },
    )


def test_dead_letters_are_counted_by_reason() -> None:
    reasons = {each["reason"]: each["count"] for each in stats_after_a_turn().refusals.most_common(9)}
    assert sum(reasons.values()) == 3
    assert reasons["why"] == 1


def test_the_way_from_a_record_to_its_visible_output_is_measured() -> None:
    stats = stats_after_a_turn()
    assert 2.0 <= stats.visible_seconds.total < 60
    assert sum(stats.visible_seconds.counts) == 1, "one output of two records: the one that completed it"


def test_a_clock_that_is_behind_makes_no_negative_time() -> None:
    stats = RuntimeStats()
    turn = turn_of(number(1, 10), at_ms=int((time.time() + 3_600) * 1000))
    stats.turn_done(turn, records=1, outputs=1, seconds=0, commit_seconds=0)
    assert stats.visible_seconds.total == 0


# -- the text for Prometheus ------------------------------------------------------------------------------------------


LAGS = {
    TP('to"pic\n', 0): SourceLag(records=12, uncommitted=5, held_up_s=7.5),
    TP("orders", 1): SourceLag(records=0, uncommitted=0, held_up_s=0.0),
}


class FakePartition:
    """A partition or a standby as the metrics see it."""

    def __init__(self, name: str, state: PartitionState, remaining: int) -> None:
        self.name = name
        self.state = state
        self.progress = RestoreProgress(position=10, end=10 + remaining)


class FakeSupervisor:
    """Two partitions and a standby."""

    def __init__(self) -> None:
        self.partitions = [
            FakePartition("order_state/0", PartitionState.RUNNING, 0),
            FakePartition("order_state/1", PartitionState.OPENING, 40),
        ]
        self.standbys = [FakePartition("order_state/2", PartitionState.RUNNING, 3)]

        self.offsets = SimpleNamespace(age_s=1.5)


class FakeApp:
    """What the metrics need of an application."""

    def __init__(self) -> None:
        self.conf = SimpleNamespace(id="shop-orders", datadir=Path(__file__).parent)
        self.stats = stats_after_a_turn()
        self.partition_supervisor = FakeSupervisor()


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(*extra: Any) -> Samples:
    """The metrics as Prometheus reads them."""
    text = exposition(cast(TransactionalApp, FakeApp()), LAGS, extra).decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.name.startswith("millrace_") for family in families)
    assert len({family.name for family in families}) == len(families)
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            place = (sample.name, frozenset(sample.labels.items()))
            assert place not in found, "a series appears once"
            found[place] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"millrace_{name}", frozenset(labels.items())]


def test_every_fate_has_its_series_from_the_beginning() -> None:
    found = samples()
    fates = {fate: value(found, "records_total", fate=fate) for fate in ("folded", "left", "malformed", "failed")}
    assert fates == {"folded": 3, "left": 1, "malformed": 1, "failed": 1}
    assert (value(found, "dead_letters_total"), value(found, "opened_total")) == (3, 0)


def test_histograms_cumulate_to_their_count() -> None:
    found = samples()
    assert value(found, "turn_seconds_bucket", le="0.2") == 0
    assert value(found, "turn_seconds_bucket", le="0.5") == 1
    assert value(found, "turn_seconds_bucket", le="+Inf") == value(found, "turn_seconds_count") == 1
    assert value(found, "turn_seconds_sum") == pytest.approx(0.3)
    assert value(found, "turn_records_bucket", le="5") == 0
    assert value(found, "turn_records_bucket", le="10") == 1
    assert value(found, "visible_seconds_count") == 1


def test_the_phases_of_a_turn_add_up_to_its_time_and_its_wait() -> None:
    found = samples()
    phases = {phase: value(found, "turn_phase_seconds_total", phase=phase) for phase in PHASES}
    assert phases == pytest.approx({"wait": 0.5, "fold": 0.196, "publish": 0.1, "commit": 0.004})


def test_a_worker_names_its_application_its_version_and_the_room_on_its_disk() -> None:
    found = samples()
    version = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["version"]
    python = platform.python_version()
    assert value(found, "build_info", app="shop-orders", version=version, python=python) == 1
    assert value(found, "disk_free_bytes") > 0


def test_a_worker_that_has_no_folder_yet_says_nothing_of_its_disk(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "later") is None


def test_partitions_and_standbys_say_how_far_they_are() -> None:
    found = samples()
    running = [value(found, "partition_running", partition=f"order_state/{number}") for number in (0, 1)]
    remaining = [value(found, "restore_remaining", partition=f"order_state/{number}") for number in (0, 1)]
    assert (running, remaining) == ([1, 0], [0, 40])
    assert value(found, "standby_remaining", partition="order_state/2") == 3


def test_the_lag_is_told_by_topic_partition_whatever_its_name() -> None:
    found = samples()
    assert value(found, "lag_records", topic='to"pic\n', partition="0") == 12
    assert value(found, "lag_records", topic="orders", partition="1") == 0


def test_an_open_transaction_of_another_program_is_shown_where_it_holds_records_up() -> None:
    found = samples()
    held_up, free = {"topic": 'to"pic\n', "partition": "0"}, {"topic": "orders", "partition": "1"}
    assert (value(found, "uncommitted_records", **held_up), value(found, "held_up_seconds", **held_up)) == (5, 7.5)
    assert (value(found, "uncommitted_records", **free), value(found, "held_up_seconds", **free)) == (0, 0)
    assert value(found, "end_offsets_age_seconds") == 1.5


class ExtraCollector:
    """A collector of an application."""

    def collect(self) -> list[Any]:
        return [counter("orders", "What happened to orders.", "event", {"completed": 3, "amended": 0})]


def test_an_application_adds_its_own() -> None:
    found = samples(ExtraCollector())
    assert (value(found, "orders_total", event="completed"), value(found, "orders_total", event="amended")) == (3, 0)
