"""Generate the customers while the stream is running, in a process that yields the processor to all others."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from ops.dataset.generator.plan import Plan
from stack.background import Background
from stack.job import Job


class CustomersFile:
    """The CSV file of a plan's customers, which is written in the background inside a `with` block."""

    def __init__(self, dataset: str, plan: Plan) -> None:
        self._dataset = dataset
        self._plan = plan
        self._work = Background({"generating the customers": self._generate})

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="millrace-demo-")
        self._work.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.__exit__(kind, error, trace)
        self._folder.cleanup()

    def path(self) -> Path:
        """Wait until the file is complete, and return its path.

        Raises:
            StackError: the customers could not be generated.
        """
        self._work.wait()
        return Path(self._folder.name) / "customers.csv"

    def _generate(self, job: Job) -> None:
        # One order, because the command generates all tables; customers do not depend on the number of orders.
        counts = ["--customers", str(self._plan.customers), "--orders", "1", "--seed", str(self._plan.seed)]
        where = ["--dataset", self._dataset, "--no-load", "--out", self._folder.name]
        job.run([sys.executable, "-m", "stack", "dataset", "generate", *counts, *where], purpose="generating customers")
