"""The first signal interrupts the demo where that is safe; further ones do not disturb its end."""

from __future__ import annotations

import os
import signal

import pytest

from demo.interruption import Interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_the_work(number: signal.Signals) -> None:
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            send(number)
        assert interruption.received is number


def test_further_signals_are_ignored() -> None:
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
        send(signal.SIGTERM)
        send(signal.SIGINT)
        with interruption.deferred() as cancelled:
            send(signal.SIGINT)
        assert not cancelled.is_set()
        assert interruption.received is signal.SIGTERM


def test_a_deferred_signal_cancels_the_work_and_interrupts_at_its_end() -> None:
    steps: list[bool] = []

    def work(interruption: Interruption) -> None:
        with interruption.deferred() as cancelled:
            steps.append(cancelled.is_set())
            send(signal.SIGTERM)
            steps.append(cancelled.is_set())

    with Interruption() as interruption, pytest.raises(KeyboardInterrupt):
        work(interruption)
    assert steps == [False, True]


def test_the_error_of_cancelled_work_is_kept() -> None:
    def work(interruption: Interruption) -> None:
        with interruption.deferred():
            send(signal.SIGTERM)
            raise ValueError("cancelled")

    with Interruption() as interruption:
        with pytest.raises(ValueError, match="cancelled"):
            work(interruption)
        assert interruption.received is signal.SIGTERM


def test_the_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
