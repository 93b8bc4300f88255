"""Goal: `dataset check --repair` repairs only orders that differ, compares again, and stops if too many differ.

Method: the real command; the comparison and the repair are replaced by hand-made ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from ops import cli as program
from ops.connector.repair import Repaired
from ops.dataset import cli
from ops.dataset.oracle import Verdict

SERVERS = {"KAFKA_BOOTSTRAP": "nowhere:1", "MYSQL_HOST": "nowhere", "MYSQL_USER": "u", "MYSQL_PASSWORD": "p"}


def verdict(*, missing: int = 0, stale: int = 0) -> Verdict:
    return Verdict(
        complete=100,
        records=100 - missing,
        distinct=100 - missing,
        duplicates=0,
        missing=[f"m{number}" for number in range(missing)],
        unexpected=[],
        malformed=[],
        stale={f"s{number}": "differs in products" for number in range(stale)},
    )


def run(monkeypatch: pytest.MonkeyPatch, verdicts: list[Verdict], *options: str) -> tuple[int, list[list[str]]]:
    """Run the command; return its exit code and the orders of each repair."""
    repairs: list[list[str]] = []

    def repair(_: Any, __: str, ___: Any, orders: list[str]) -> list[Repaired]:
        repairs.append(orders)
        return [Repaired(table="orders", rows=len(orders), deletions=0)]

    monkeypatch.setattr(cli, "check", lambda *_, **__: verdicts.pop(0) if len(verdicts) > 1 else verdicts[0])
    monkeypatch.setattr(cli, "repair", repair)
    monkeypatch.setattr(cli, "REPAIR_LIMIT_S", 0.0)
    for name, value in SERVERS.items():
        monkeypatch.setenv(name, value)
    return program.main(["dataset", "check", *options]), repairs


def test_without_the_option_nothing_is_repaired_and_the_command_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, [verdict(stale=1)]) == (1, [])
    assert "dataset check --repair" in capsys.readouterr().out


def test_missing_and_stale_orders_are_repaired_and_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [verdict(missing=1, stale=1), verdict()], "--repair") == (0, [["m0", "s0"]])


def test_orders_that_still_differ_after_the_repair_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [verdict(stale=1), verdict(stale=1)], "--repair") == (1, [["s0"]])


def test_nothing_is_repaired_if_nothing_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [verdict()], "--repair") == (0, [])


def test_a_large_share_of_the_orders_is_repaired_only_with_force(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, repairs = run(monkeypatch, [verdict(missing=21)], "--repair")
    assert (code, repairs) == (2, [])
    assert "--force" in capsys.readouterr().err
    code, repairs = run(monkeypatch, [verdict(missing=21), verdict()], "--repair", "--force")
    assert (code, len(repairs[0])) == (0, 21)


def test_force_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [verdict()], "--force") == (2, [])
