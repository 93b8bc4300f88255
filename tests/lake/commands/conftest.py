"""One shop for all tests of this folder: its servers, a small snapshot, a connector, the archive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lake.commands.house import House
from tests.lake.commands.opening import opened_house


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A loaded shop whose orders are completed and whose changes are archived; the lake's tables are not made yet."""
    with opened_house(tmp_path_factory.mktemp("lake"), ("streams.orders", "streams.archive")) as house:
        yield house
