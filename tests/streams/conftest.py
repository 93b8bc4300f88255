"""The servers that the stream tests share: started once, on free ports, in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stack.local import Stack
from tests.support.stacks import stack_with_postgres


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Connect, MariaDB, PostgreSQL and Redis; they end with the session, even when it is killed."""
    folder = tmp_path_factory.mktemp("stack")
    servers = ["kafka", "connect", "mariadb", "postgres", "redis"]
    with stack_with_postgres(folder, servers) as stack:
        yield stack
