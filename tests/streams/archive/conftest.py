"""Kafka and MinIO for the tests of the archive, which stop MinIO as they like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.local import Stack
from stack.ports import free_ports
from tests.streams.archive.archived_shop import ArchivedShop


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The servers; each shop has topics and objects under names of its own."""
    folder = tmp_path_factory.mktemp("archive")
    with Stack.at(folder, ports=free_ports(), servers=["kafka", "minio"], die_with_parent=True) as stack:
        yield stack


@pytest.fixture
def shop(servers: Stack, tmp_path: Path) -> Iterator[ArchivedShop]:
    """A shop of its own; its workers must end gracefully."""
    shop = ArchivedShop(servers, tmp_path)
    yield shop
    servers.start("minio")
    graceful = [worker.stop() for worker in shop.workers]
    shop.close()
    assert graceful == [True] * len(graceful), "workers end gracefully"
