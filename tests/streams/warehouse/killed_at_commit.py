"""A worker that ends itself (SIGKILL) before, during or after the commit of a turn, when a file asks for it.

    KILL_FILE=… python -m tests.streams.warehouse.killed_at_commit -A streams.warehouse worker …

runs the real Faust command line on the real application. No file, no difference; the file is taken away, and its
content says when to end: `before` COMMIT is sent, `during` it, which is sent but not answered, or `after` its answer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any


def main() -> None:
    """Prepare the commit, then be Faust."""
    from psycopg.transaction import AsyncTransaction

    from tables.warehouse.committer import WarehouseCommitter

    real_move, real_commit = WarehouseCommitter._move_offset, AsyncTransaction._commit_gen
    kill_file, turns = Path(os.environ["KILL_FILE"]), list[str]()

    async def move_offset(self: WarehouseCommitter, *arguments: Any) -> None:
        await real_move(self, *arguments)
        turns.extend(asked())

    def asked() -> list[str]:
        if not kill_file.exists():
            return []
        when = kill_file.read_text()
        kill_file.unlink()
        return [when]

    def commit(self: AsyncTransaction) -> Generator[Any, Any, None]:
        when = turns.pop() if turns else ""
        if when == "during":
            self._conn.pgconn.send_query(b"COMMIT")
            self._conn.pgconn.flush()
        if when in ("before", "during"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from real_commit(self)
        if when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(WarehouseCommitter, "_move_offset", move_offset)  # noqa: B010 - a method is replaced, on purpose
    setattr(AsyncTransaction, "_commit_gen", commit)  # noqa: B010
    from faust.cli.faust import cli

    cli(prog_name="faust")


if __name__ == "__main__":
    main()
