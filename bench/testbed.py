"""Testbed of the benchmarks: a separate stack of servers on free ports, in a temporary folder deleted at the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from bench import inputs
from bench.inputs import Change
from bench.kafka import write
from config.dataset import load_definition
from config.definition import OrdersGenerator
from config.settings import KafkaSettings
from demo.workers import Worker
from ops.dataset.generator.plan import Plan
from ops.topics import apply_topics
from stack.local import Stack
from stack.ports import free_ports
from stack.record import load_record
from stack.site import REPOSITORY
from streams.topics import catalogue, change_topic

DATASET: Final = "project_db"
RESULTS: Final = REPOSITORY / ".bench"

Say = Callable[[str], None]


class StackTestbed:
    """The running servers of one benchmark.

    Attributes:
        folder: folder for the benchmark's files, deleted at the end.
        environment: environment variables with which programs reach the servers.
        pids: pids of the servers.
    """

    def __init__(self, stack: Stack, folder: Path, *, partitions: int) -> None:
        self.stack = stack
        self.folder = folder
        self.partitions = partitions
        self.environment: Mapping[str, str] = {**stack.environment(), "ORDER_PARTITIONS": str(partitions)}
        self.kafka = KafkaSettings.read(self.environment)
        records = [load_record(stack.site.record(server)) for server in stack.servers]
        self.pids = [record.process.pid for record in records if record is not None]

    @classmethod
    @contextmanager
    def opened(cls, servers: Sequence[str], *, partitions: int) -> Iterator[Self]:
        """Start the servers; after the `with` block, stop them and delete their data."""
        folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
        stack = Stack.at(folder / "stack", ports=free_ports(), servers=servers, die_with_parent=True)
        try:
            stack.up()
            yield cls(stack, folder, partitions=partitions)
        finally:
            stack.down()
            shutil.rmtree(folder, ignore_errors=True)

    def apply_topics(self, app_id: str) -> None:
        """Create all topics that the application with this id needs."""
        apply_topics(self.kafka, catalogue(dataset=DATASET, app_id=app_id, order_partitions=self.partitions))

    def write(self, changes: Iterable[Change], topics: Mapping[str, str] | None = None) -> int:
        """Write changes to the dataset's topics, or to `topics` (keyed by table); return the number of changes."""
        tables = (inputs.ORDERS, inputs.DETAILS, inputs.PAYMENT_METHODS)
        own = {table: change_topic(DATASET, table) for table in tables}
        return write(self.kafka.bootstrap, changes, topics or own)

    def worker(self, name: str, *, application: str = "streams.orders", **settings: str) -> Worker:
        """Return a worker with a port and a data folder of its own; the worker is not started yet."""
        port = free_ports([name])[name]
        environment = {**self.environment, **settings}
        return Worker(web_port=port, environment=environment, folder=self.folder / name, application=application)


def generator() -> OrdersGenerator:
    """Return the generator parameters from the definition of the benchmarks' dataset."""
    parameters = load_definition(DATASET).generator
    assert isinstance(parameters, OrdersGenerator)
    return parameters


def plan_of(size: inputs.Input) -> Plan:
    """Compute the numbers of orders, product lines and customers of an input, with the dataset's parameters."""
    return inputs.plan_of(size, generator())
