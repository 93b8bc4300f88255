"""Stacks of servers for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stack.local import Stack
from stack.ports import free_ports
from stack.servers import SERVERS


@contextmanager
def stack_with_postgres(folder: Path, servers: Sequence[str]) -> Iterator[Stack]:
    """Start servers that end with this process, even when it is killed.

    PostgreSQL's data, which is not in the folder if root runs the tests, is deleted at the end.
    """
    stack = Stack.at(folder, ports=free_ports(), servers=servers, die_with_parent=True)
    try:
        with stack:
            yield stack
    finally:
        SERVERS["postgres"].forget(stack.site)
