"""A worker of the warehouse that meets a fault of its own in the commit of a turn, when a file asks for it.

    KILL_FILE=… python -m tests.faults.sinks.program MUTANT -A streams.warehouse worker …

runs the real Faust command line on the real application; MUTANT is `none`, or what the application then lacks. No file,
no difference; the file is taken away, and its content says what happens to the next turn:

- `before`, `during`, `after`: SIGKILL before COMMIT is sent, while it is not answered, or after its answer;
- `stop`: SIGSTOP before the transaction begins; whoever asked for it sends SIGCONT;
- `hold`: COMMIT is sent, and not waited for until the file that ends in `.held` is taken away.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

HELD_S: Final = 0.02


def main() -> None:
    """Prepare mutant and commit, then be Faust."""
    mutant = sys.argv.pop(1)
    MUTANTS[mutant]()
    _prepare_commit(Path(os.environ["KILL_FILE"]))
    from faust.cli.faust import cli

    cli(prog_name="faust")


def held_file(kill_file: Path) -> Path:
    """The file that is there while a commit is held."""
    return kill_file.with_suffix(".held")


def _prepare_commit(kill_file: Path) -> None:
    from psycopg.transaction import AsyncTransaction

    from tables.warehouse.committer import WarehouseCommitter

    real_turn, real_move = WarehouseCommitter.commit, WarehouseCommitter._move_offset
    real_commit = AsyncTransaction._commit_gen
    turns = list[str]()

    async def commit(self: WarehouseCommitter, outputs: Sequence[Any], offsets: Mapping[str, int]) -> Any:
        if outputs and _asked(kill_file, "stop"):
            os.kill(os.getpid(), signal.SIGSTOP)
        return await real_turn(self, outputs, offsets)

    async def move_offset(self: WarehouseCommitter, *arguments: Any) -> None:
        await real_move(self, *arguments)
        turns.extend(_asked(kill_file, "before", "during", "after", "hold"))

    def commit_gen(self: AsyncTransaction) -> Generator[Any, Any, None]:
        when = turns.pop() if turns else ""
        if when in ("during", "hold"):
            self._conn.pgconn.send_query(b"COMMIT")
            self._conn.pgconn.flush()
        if when in ("before", "during"):
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "hold":
            _wait_while_held(held_file(kill_file))
        yield from real_commit(self)
        if when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(WarehouseCommitter, "commit", commit)  # noqa: B010 - methods are replaced, on purpose
    setattr(WarehouseCommitter, "_move_offset", move_offset)  # noqa: B010
    setattr(AsyncTransaction, "_commit_gen", commit_gen)  # noqa: B010


def _asked(kill_file: Path, *whens: str) -> list[str]:
    """Take the file away if it asks for one of these, and return what it asks for."""
    if not kill_file.exists() or (when := kill_file.read_text()) not in whens:
        return []
    kill_file.unlink()
    return [when]


def _wait_while_held(file: Path) -> None:
    file.touch()
    while file.exists():
        time.sleep(HELD_S)


def _nothing() -> None:
    """Run the real application."""


def _rows_first() -> None:
    """Commit the rows first, and then the offset."""
    from tables.warehouse.committer import WarehouseCommitter, _parts

    async def write(self: WarehouseCommitter, rows: Any, next_offset: int) -> int:
        async with self._sink.client.transaction() as transaction:
            parts = [self._arrays(part) for part in _parts(rows)]
            written = sum([await transaction.run(self._load.statement, part) for part in parts])
        async with self._sink.client.transaction() as transaction:
            await self._move_offset(transaction, next_offset)
        return written

    setattr(WarehouseCommitter, "_write", write)  # noqa: B010


def _no_fence() -> None:
    """Write every version over every other."""
    from tables.warehouse import statements

    real = statements.upsert

    def upsert(*arguments: Any) -> str:
        return real(*arguments).replace("excluded.source_position > t.source_position", "true")

    setattr(statements, "upsert", upsert)  # noqa: B010


def _no_owner() -> None:
    """Move the offset whoever owns the partition, and whatever the offset is."""
    from tables.warehouse.committer import WarehouseCommitter

    async def move_offset(self: WarehouseCommitter, transaction: Any, next_offset: int) -> None:
        place = "app = %s AND topic = %s AND partition = %s"
        statement = f"UPDATE {self._sink.schema}.stream_offsets SET next = %s WHERE {place}"  # noqa: S608
        await transaction.run(statement, (next_offset, *self._place))

    setattr(WarehouseCommitter, "_move_offset", move_offset)  # noqa: B010


MUTANTS: Final = {"none": _nothing, "rows_first": _rows_first, "no_fence": _no_fence, "no_owner": _no_owner}

if __name__ == "__main__":
    main()
