"""A testbed with Kafka, PostgreSQL and one more server, for the tables of faults of a source and of the sinks."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

from stack.local import Stack
from stack.site import REPOSITORY
from tests.faults.result import Say
from tests.support.stacks import stack_with_postgres


class PostgresFaultTestbed:
    """Servers, and a folder for workers and datasets.

    Attributes:
        servers: names of the servers.
        title: the servers as a person says them.
    """

    servers: ClassVar[tuple[str, ...]]
    title: ClassVar[str]

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder

    @classmethod
    @contextmanager
    def opened(cls, say: Say) -> Iterator[Self]:
        """Start the servers in a temporary folder; deleted at the end."""
        folder = Path(tempfile.mkdtemp(prefix="millrace-faults-"))
        began = time.monotonic()
        try:
            with stack_with_postgres(folder / "stack", cls.servers) as stack:
                say(f"{cls.title} are there after {time.monotonic() - began:.0f} s, in {folder}")
                yield cls(stack, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def heal(self) -> None:
        """Start the servers that a fault has left down."""
        self.stack.up()

    def keep_logs(self, name: str) -> Path:
        """Copy the logs of servers and workers to a folder that is kept."""
        target = REPOSITORY / ".faults" / "logs" / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.stack.site.folder / "logs", target)
        for log in self.folder.glob("*/worker-*.log"):
            shutil.copy(log, target)
        return target
