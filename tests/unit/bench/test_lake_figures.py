"""Goal: the lake's table and verdicts say what was measured: a wrong answer is no base, and reaches no target.

Method: runs made up by hand.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from bench.__main__ import parser
from bench.chart import by_case
from bench.lake.command import chosen_cases, chosen_systems
from bench.lake.figures import CASES, TARGETS, Row, base_of, medians, merged, table, verdicts
from bench.lake.systems import SYSTEMS


def row(system: str = "millrace", case: str = "first", **changed: Any) -> Row:
    figures: dict[str, Any] = {
        "system": system, "case": case, "size": 1.0, "customers": 1_000, "seconds": 10.0, "rows": 5, "changed": 0,
        "rss_mb": 100.0, "cpu_s": 12.0, "server_cpu_s": 1.0, "foreign_cpu": 0.01,
    }  # fmt: skip
    return Row(**(figures | changed))


PLAIN = row("plain_parquet", seconds=20.0)


def test_the_median_counts_of_times_and_the_worst_of_faults() -> None:
    runs = [row(seconds=1.0, wrong=("dim_date",)), row(seconds=9.0, foreign_cpu=0.5), row(seconds=5.0)]
    [found] = medians(runs)
    assert (found.seconds, found.wrong, found.foreign_cpu, found.runs) == (5.0, ("dim_date",), 0.5, 3)


def test_systems_cases_and_sizes_are_kept_apart() -> None:
    runs = [row(), PLAIN, row(size=10.0), row(case="nothing"), row(customers=7), row()]
    assert [found.runs for found in medians(runs)] == [2, 1, 1, 1, 1]


def test_what_was_measured_before_stays_unless_it_was_measured_again() -> None:
    before = [row(seconds=1.0), row(size=10.0, seconds=2.0)]
    assert [each.seconds for each in merged(before, [row(seconds=3.0), PLAIN])] == [3.0, 2.0, 20.0]


def test_ratios_are_to_the_plain_pipelines_first_run_of_the_same_size() -> None:
    lines = table([row(), PLAIN, row("plain_parquet", "one_percent", seconds=5.0), row(size=10.0)])
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["first", "millrace", "10.0", "0.500"],
        ["first", "plain_parquet", "20.0", "1.000"],
    ]
    assert lines[3].split()[:6] == ["first", "(size", "10)", "millrace", "10.0", "12.0"]
    assert lines[4].split()[:4] == ["one_percent", "plain_parquet", "5.0", "0.250"]


def test_a_wrong_answer_is_named_and_no_base() -> None:
    wrong = row("plain_parquet", wrong=("fact_orders",))
    assert base_of([wrong], 1.0, 1_000) is None
    assert table([wrong])[1].endswith("WRONG: fact_orders")
    assert verdicts([row(), wrong]) == []


@pytest.mark.parametrize("case", TARGETS)
def test_a_target_is_reached_up_to_its_ratio_and_by_right_answers_only(case: str) -> None:
    most_s = TARGETS[case] * PLAIN.seconds
    assert verdicts([PLAIN, row(case=case, seconds=most_s)])[0].startswith(f"reached: {case} takes")
    assert verdicts([PLAIN, row(case=case, seconds=most_s * 1.01)])[0].startswith("NOT reached")
    assert verdicts([PLAIN, row(case=case, seconds=most_s, wrong=("dim_date",))])[0].startswith("NOT reached")


def test_a_larger_shop_is_compared_by_what_has_changed() -> None:
    small = row(case="one_percent", changed=100)
    large = row(case="one_percent", size=10.0, changed=300, seconds=20.0, cpu_s=18.0)
    [line] = verdicts([small, large])
    assert line.startswith("one_percent at size 10: 3.00 times the rows of one_percent at size 1, 2.00 times its sec")
    assert line.endswith("1.50 times its CPU")


def test_the_results_for_programs_have_the_agreed_fields_and_can_be_read_again() -> None:
    written = json.loads(json.dumps(row(wrong=("dim_date",)).as_json()))
    assert {"system", "case", "size", "seconds", "rows", "rss_mb", "cpu_s"} <= written.keys()
    assert Row.of_json(written) == row(wrong=("dim_date",))


def test_the_chart_has_a_panel_per_case_without_wrong_answers() -> None:
    rows = [each.as_json() for each in (row(), PLAIN, row(case="nothing"), row("polars", wrong=("dim_date",)))]
    panels = by_case(rows, 1.0)
    assert {case: [each["system"] for each in found] for case, found in panels.items()} == {
        "first": ["millrace", "plain_parquet"],
        "nothing": ["millrace"],
    }


def test_everything_is_measured_by_default() -> None:
    asked = parser().parse_args(["batch"])
    assert (asked.systems, asked.cases, asked.size, asked.repeat) == (SYSTEMS, tuple(CASES), 1.0, 1)


def test_systems_and_cases_are_chosen_by_name() -> None:
    assert [system.name for system in chosen_systems("polars, millrace")] == ["millrace", "polars"]
    assert chosen_cases("first,warm_nothing") == ("first", "warm_nothing")


@pytest.mark.parametrize("choose", [chosen_systems, chosen_cases])
def test_an_unknown_name_is_refused(choose: Any) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="'spark'"):
        choose("spark")
