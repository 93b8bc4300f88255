"""The servers that the stream tests share: started once, on free ports, in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stack.local import Stack
from stack.ports import free_ports


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Connect, MariaDB, PostgreSQL and Redis; they end with the session, even when it is killed."""
    folder = tmp_path_factory.mktemp("stack")
    servers = ["kafka", "connect", "mariadb", "postgres", "redis"]
    stack = Stack.at(folder, ports=free_ports(), servers=servers, die_with_parent=True)
    with stack:
        yield stack
