"""Kafka and MinIO for the tests of the archive, which stop MinIO as they like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stack.local import Stack
from stack.ports import free_ports


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The servers; each shop has topics and objects under names of its own."""
    folder = tmp_path_factory.mktemp("archive")
    with Stack.at(folder, ports=free_ports(), servers=["kafka", "minio"], die_with_parent=True) as stack:
        yield stack
