"""A worker that ends itself (SIGKILL) between the commit of a turn and its write to the store, when a file asks for it.

    KILL_FILE=… python -m tests.streams.orders.killed_before_write -A streams.orders worker …

runs the real Faust command line on the real application. No file, no difference; the file is taken away.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any


def main() -> None:
    """Prepare the store, then be Faust."""
    from streams.runtime.state.store import PartitionStore

    real, kill_file = PartitionStore.write, Path(os.environ["KILL_FILE"])

    def write(self: PartitionStore, *turn: Any) -> None:
        if kill_file.exists():
            kill_file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, *turn)

    setattr(PartitionStore, "write", write)  # noqa: B010 - a method is replaced, on purpose
    from faust.cli.faust import cli

    cli(prog_name="faust")


if __name__ == "__main__":
    main()
