"""One shop for all tests of this folder: its servers, a small snapshot, a connector, the archive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lake.testbed import LakeTestbed
from tests.support.lake.testbed_setup import opened_testbed


@pytest.fixture(scope="package")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeTestbed]:
    """A loaded shop whose orders are completed and whose changes are archived; the lake's tables are not made yet."""
    with opened_testbed(tmp_path_factory.mktemp("lake"), ("streams.orders", "streams.archive")) as testbed:
        yield testbed
