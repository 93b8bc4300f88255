"""However the demo ends, its servers are stopped, unless they were to be kept and no signal came.

The servers and the demo that the dataset's definition asks for are fakes; the signals are real.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from config.command_line import INTERRUPTED
from config.dataset import load_definition
from demo import command
from demo.changes_demo import ChangesDemo
from demo.orders_demo import OrdersDemo
from demo.progress import Progress
from demo.proof import Proof
from stack.errors import StackError
from stack.site import REPOSITORY, Site, load_or_create_site

PASSED = Proof(complete_orders=2_800, lake_verdict="equal")
DIFFERENT = Proof(complete_orders=2_800, lake_verdict="different")


class FakeStack:
    """A stack that counts how often it was stopped and deleted; `during` is called meanwhile."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.resets = 0
        self.during: Callable[[], None] = lambda: None

    def reset(self) -> None:
        self.during()
        self.resets += 1


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    found = FakeStack(load_or_create_site(tmp_path / "stack", {}))
    monkeypatch.setattr(command, "_new_stack", lambda is_kept, engine: found)
    monkeypatch.setattr(command, "PROOF", REPOSITORY / ".demo" / "test" / "proof.json")
    return found


def demo(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], Proof], *, dataset: str = "project_db", keep: bool = False
) -> int:
    def run_on(demo: object, stack: object, progress: Progress, interruption: object, save: object) -> Proof:
        with progress.phase("servers", "start the servers"):
            return work()

    monkeypatch.setattr(OrdersDemo, "run", run_on)
    monkeypatch.setattr(ChangesDemo, "run", run_on)
    return command.run(argparse.Namespace(dataset=dataset, size=0.1, customers=10, keep=keep))


def interrupted(number: signal.Signals) -> Proof:
    signal.raise_signal(number)
    raise AssertionError("the signal was ignored")


def failed() -> Proof:
    raise StackError("a worker has ended")


@pytest.mark.parametrize(("proof", "code"), [(PASSED, 0), (DIFFERENT, 1)])
def test_the_exit_code_is_the_verdict(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, proof: Proof, code: int
) -> None:
    assert demo(monkeypatch, lambda: proof) == code
    assert stack.resets == 1


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_servers_and_ends_with_a_clear_line(
    stack: FakeStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    *,
    keep: bool,
) -> None:
    assert demo(monkeypatch, lambda: interrupted(number), keep=keep) == INTERRUPTED
    assert stack.resets == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"stopped by {number.name}")


def test_an_impatient_second_signal_does_not_leave_servers_behind(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.during = lambda: signal.raise_signal(signal.SIGINT)
    assert demo(monkeypatch, lambda: interrupted(signal.SIGINT)) == INTERRUPTED
    assert stack.resets == 1


def test_a_signal_while_the_servers_are_stopped_does_not_leave_any_behind(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.during = lambda: signal.raise_signal(signal.SIGTERM)
    assert demo(monkeypatch, lambda: PASSED) == INTERRUPTED
    assert stack.resets == 1


def test_kept_servers_go_on_and_the_screen_says_how_to_use_them(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(monkeypatch, lambda: PASSED, keep=True) == 0
    assert stack.resets == 0
    assert "--name demo" in capsys.readouterr().out


def test_a_failure_stops_the_servers(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="a worker has ended"):
        demo(monkeypatch, failed)
    assert stack.resets == 1


@pytest.mark.parametrize(
    ("dataset", "orders", "phase"),
    [
        ("project_db", "2,500 orders", "[ 1/11]"),
        ("shop", "5,000 orders", "[ 1/9]"),
        ("online_store", "10,000 orders", "[ 1/8]"),
        ("firma", "the files that it comes with", "[ 1/8]"),
    ],
)
def test_the_plan_comes_first_and_is_that_of_the_dataset(
    stack: FakeStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dataset: str,
    orders: str,
    phase: str,
) -> None:
    demo(monkeypatch, lambda: PASSED, dataset=dataset)
    screen = capsys.readouterr().out
    assert screen.startswith("Millrace demo")
    assert screen.index(orders) < screen.index(phase)
    plan = screen[: screen.index(phase)].splitlines()
    assert max(len(line) for line in plan) <= 120


def test_the_demo_follows_from_the_definition() -> None:
    assert isinstance(command.chosen_demo(load_definition("project_db"), size=1, customers=None), OrdersDemo)
    shop, project = load_definition("shop"), load_definition("project_db")
    for definition in (shop, load_definition("online_store"), load_definition("firma")):
        assert isinstance(command.chosen_demo(definition, size=1, customers=None), ChangesDemo)
    for other in (msgspec.structs.replace(shop, generator=None), msgspec.structs.replace(project, completeness=None)):
        with pytest.raises(StackError, match=r"generator"):
            command.chosen_demo(other, size=1, customers=None)
