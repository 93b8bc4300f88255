"""Goal: the Python peers do the same job as Millrace: one complete order once, whatever comes first.

Method: their common fold, row by row, and their arguments.
"""

from __future__ import annotations

import sys
from itertools import permutations
from pathlib import Path

import pytest

from bench.peers.job import arguments, complete_order, fold
from bench.systems import EXACTLY_ONCE, Peer, System, Task, prepared
from bench.verdict import Judge
from tests.support.builders import Row, as_json

ORDER: Row = {"id": "a", "customer_id": 1, "store_id": 2, "payment_method_id": 3, "num_products": 2}
LINES: list[Row] = [{"order_id": "a", "product_id": product, "quantity": product * 10} for product in (7, 4)]


def outputs(*rows: Row) -> list[Row]:
    state: Row | None = None
    found = []
    for row in rows:
        state, is_due = fold(state, row)
        if is_due:
            found.append(complete_order("a", state))
    return found


def test_an_order_goes_out_once_in_whatever_order_its_rows_come() -> None:
    for rows in permutations([ORDER, *LINES]):
        [output] = outputs(*rows)
        judge = Judge({b"a": ((4, 40), (7, 70))})
        judge.see(b"a", as_json(output))
        assert (judge.verdict().missing, judge.verdict().wrong) == (0, 0)


def test_a_repeated_line_completes_nothing() -> None:
    assert outputs(ORDER, LINES[0], LINES[0]) == []


def test_a_row_after_the_output_brings_no_second_one() -> None:
    assert len(outputs(ORDER, *LINES, LINES[0])) == 1


@pytest.mark.parametrize("name", ["quix-streams", "faust-stock"])
def test_a_python_peer_understands_the_arguments_with_which_it_is_started(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = Task(group="group", orders="orders", details="details", output="output", folder=tmp_path)
    peer = prepared(System(name=name, mode=EXACTLY_ONCE), task, {"KAFKA_BOOTSTRAP": "127.0.0.1:9092"})
    assert isinstance(peer, Peer)
    monkeypatch.setattr(sys, "argv", peer.command[2:])  # of `python -m program arguments…`
    given = arguments()
    assert (given.group, given.output, given.mode, given.mark) == ("group", "output", EXACTLY_ONCE, str(task.mark))
