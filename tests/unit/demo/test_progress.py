"""A phase is one line on the screen, with its estimate and its duration, unless something is said about it."""

from __future__ import annotations

import re

import pytest

from demo.progress import Progress, duration


def screen_of(*, notes: int = 0, ticks: int = 0) -> tuple[str, Progress]:
    written: list[str] = []
    progress = Progress(written.append, {"load": 6, "lake": 240})
    with progress.phase("lake", "fill the lake"):
        for _ in range(ticks):
            progress.tick()
        for number in range(notes):
            progress.note(f"note {number}")
    return "".join(written), progress


def test_a_phase_is_one_line() -> None:
    screen, progress = screen_of()
    assert re.fullmatch(r"\[ 2/2\] fill the lake \(about 4 min\) 0\.0 s\n", screen)
    assert list(progress.seconds) == ["lake"]


def test_what_goes_on_is_shown_in_the_same_line() -> None:
    assert "(about 4 min) ...0.0 s\n" in screen_of(ticks=3)[0]


def test_a_note_is_a_line_of_its_own() -> None:
    screen, _ = screen_of(notes=2, ticks=1)
    assert [line.strip() for line in screen.splitlines()][1:] == ["note 0", "note 1", "done in 0.0 s"]


def test_a_phase_that_fails_ends_its_line_and_has_no_duration() -> None:
    written: list[str] = []
    progress = Progress(written.append, {"load": 6})
    with pytest.raises(ValueError, match="x"), progress.phase("load", "load the orders"):
        raise ValueError("x")
    assert "".join(written).endswith("\n")
    assert progress.seconds == {}


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (119, "119 s"), (240, "4 min")])
def test_an_estimate_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
