"""Goal: medians, ratios and the table say what was measured, and hide neither a lost order nor a disturbed run.

Method: runs made up by hand.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from bench.__main__ import chosen_inputs, chosen_systems, parser
from bench.chart import by_input, label
from bench.figures import Figures, least_disturbed, median_of, medians, ratio, table
from bench.stream import rotated
from bench.systems import SYSTEMS


def run(**changed: Any) -> Figures:
    figures: dict[str, Any] = {
        "system": "millrace", "mode": "exactly_once", "threads": 1, "input": "small", "share": 1.0, "events": 1_000,
        "events_per_s": 500.0, "startup_s": 1.0, "run_s": 2.0, "outputs_s": 1.9, "total_s": 3.0, "cpu_s": 0.5,
        "rss_mb": 100.0, "server_cpu_s": 0.2, "meter_cpu_s": 0.1, "foreign_cpu": 0.01, "outputs": 300, "missing": 0,
        "duplicates": 0, "wrong": 0,
    }  # fmt: skip
    return Figures(**(figures | changed))


PEER = {"system": "peer", "mode": "at_least_once"}


def cells(line: str) -> list[str]:
    return [cell for cell in line.split("  ") if cell.strip()]


def test_the_median_counts_of_times_and_the_worst_of_faults() -> None:
    runs = [run(events_per_s=1.0, missing=1), run(events_per_s=9.0), run(events_per_s=5.0, duplicates=7)]
    found = median_of(runs)
    assert (found.events_per_s, found.missing, found.duplicates, found.runs) == (5.0, 1, 7, 3)


def test_counts_stay_whole_numbers() -> None:
    assert median_of([run(outputs=300), run(outputs=301)]).outputs == 300


def test_systems_modes_threads_and_inputs_are_kept_apart() -> None:
    runs = [run(), run(**PEER), run(threads=2), run(input="large"), run()]
    assert [(row.system, row.threads, row.input, row.runs) for row in medians(runs)] == [
        ("millrace", 1, "small", 2),
        ("peer", 1, "small", 1),
        ("millrace", 2, "small", 1),
        ("millrace", 1, "large", 1),
    ]


def test_intervals_of_commits_are_kept_apart_and_named_in_table_and_chart() -> None:
    rows = medians([run(system="flink", commit_ms=interval) for interval in (100, 1000, 100)])
    assert [(row.commit_ms, row.runs) for row in rows] == [(100, 2), (1000, 1)]
    assert [line.split("  ")[1] for line in table(rows)[1:]] == ["flink, 100 ms", "flink, 1000 ms"]
    assert label(rows[0].as_json()) == "flink, 100 ms"


def test_of_several_tries_the_least_disturbed_is_kept_even_if_it_is_slower() -> None:
    quiet = run(foreign_cpu=0.05, events_per_s=1.0)
    assert least_disturbed([run(foreign_cpu=0.5), quiet, run(foreign_cpu=0.2)]) is quiet


def test_a_run_is_disturbed_above_a_tenth_of_the_machine() -> None:
    assert [run(foreign_cpu=share).disturbed for share in (0.1, 0.101)] == [False, True]


@pytest.mark.parametrize(("value", "ours", "expected"), [(50.0, 100.0, "0.50"), (1.0, None, ""), (1.0, 0.0, "")])
def test_a_ratio_is_to_millrace_which_is_one(value: float, ours: float | None, expected: str) -> None:
    assert ratio(value, ours) == expected


def test_the_table_has_the_fastest_first_with_its_ratios_to_millrace() -> None:
    head, ours, peer = table([run(**PEER, events_per_s=250.0, cpu_s=1.0, rss_mb=300.0), run()])
    assert cells(head)[0].strip() == "input"
    assert ours.split()[1:10] == ["millrace", "exactly_once", "1", "500", "1.00", "500.0", "1.00", "100", "1.00"]
    assert peer.split()[1:10] == ["peer", "at_least_once", "1", "250", "0.50", "1000.0", "2.00", "300", "3.00"]


def test_processor_time_is_compared_per_event_when_a_peer_was_given_a_part() -> None:
    part = run(**PEER, share=0.1, events=100, cpu_s=0.5)
    assert part.cpu_us_per_event == 10 * run().cpu_us_per_event
    assert "small (10% of it)" in table([part])[1]


def test_the_table_marks_disturbed_runs() -> None:
    assert table([run(foreign_cpu=0.3)])[1].endswith("30% !")


def test_the_results_for_programs_have_the_agreed_fields() -> None:
    row = json.loads(json.dumps(run().as_json()))
    agreed = {"system", "mode", "input", "events_per_s", "cpu_s", "rss_mb", "outputs", "missing", "duplicates"}
    assert agreed <= row.keys()


def test_the_chart_has_the_fastest_first_in_one_panel_per_input() -> None:
    rows = [row.as_json() for row in (run(), run(**PEER, events_per_s=1.0), run(input="large", threads=2, share=0.5))]
    panels = by_input(rows)
    assert [row["system"] for row in panels["small"]] == ["millrace", "peer"]
    assert label(panels["large"][0]) == "millrace, 2 workers"


def test_each_round_begins_with_another_system_and_leaves_none_out() -> None:
    assert [rotated(SYSTEMS, number)[0] for number in range(len(SYSTEMS) + 1)] == [*SYSTEMS, SYSTEMS[0]]
    assert all(set(rotated(SYSTEMS, number)) == set(SYSTEMS) for number in range(3))


def test_a_system_is_chosen_in_all_its_modes_or_in_one() -> None:
    assert {system.mode for system in chosen_systems("quix-streams")} == {"exactly_once", "at_least_once"}
    assert [system.mode for system in chosen_systems("quix-streams/exactly_once")] == ["exactly_once"]


@pytest.mark.parametrize("text", ["", "spark", "millrace/at_least_once"])
def test_an_unknown_system_is_refused_by_name(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}'"):
        chosen_systems(text)


def test_everything_is_measured_by_default() -> None:
    asked = parser().parse_args(["stream"])
    assert asked.systems == SYSTEMS
    assert asked.inputs == chosen_inputs("small,large")
