"""A worker may open as many files as the system allows, because each partition needs a dozen."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from streams.runtime.faust import app


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(limits: tuple[int, int]) -> None:
    _, most = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, most), most))
    app._allow_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == most


def test_a_limit_that_cannot_be_raised_is_left_alone(limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        app._allow_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
