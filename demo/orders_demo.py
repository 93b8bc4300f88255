"""The demo of a dataset with complete orders: the stream's part and the lake's part, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from config.definition import Definition
from demo.customers import CustomersFile
from demo.interruption import Interruption
from demo.lake import OrdersLake
from demo.progress import MEASURED_S, Progress, duration
from demo.proof import Proof
from demo.run import run_demo
from demo.servers import Servers, lake_programs
from demo.stream import LIVE_ORDERS, StreamPart
from demo.workers import Worker
from ops.dataset.generator.plan import Plan
from stack.local import Stack
from stack.ports import free_ports

ARCHIVE_SETTINGS: Final = {"ARCHIVE_FLUSH_S": "1"}
"""Settings of the archive worker: the demo waits for the last changes, so they should not wait in memory."""

PLAN: Final = """\
Millrace demo: from database commits to complete orders, each exactly once, and a lake that equals the database, on real
servers on this machine. It takes about {total}: the stream's part first, then the lake's.

The stream
  1. start MariaDB, Kafka, Kafka Connect with Debezium and Redis (downloaded once, on separate ports); meanwhile MinIO
     is built and Spark's jars are downloaded in the background, if they are not there yet;
  2. create the shop's database and load {orders:,} orders; create the topics and register the Debezium connector;
  3. start two Faust workers, and kill one of them (SIGKILL) while they work;
  4. place {live} live orders and measure the time from their commit to order_final;
  5. compare order_final with the database, and print the stream's proof.
The lake
  6. add {customers:,} customers, start MinIO, and archive every change there;
  7. fill the lake from the archive with Spark: Bronze, Silver, Gold;
  8. compare the lake with the database, row by row, and print the whole proof ({proof}).
"""

KEPT: Final = """\
the servers are still running. To look around:
  . .venv/bin/activate
  eval "$(millrace env --name {name})"
  millrace worker orders --web-port 6066             # http://127.0.0.1:6066/stats/ and /orders/<order id>/
  millrace dataset simulate --name {name} --rate 50
  millrace worker archive --web-port 6071            # and in another shell:
  millrace lake run --every 10s                      # millrace lake sql "select * from fact_orders"
to stop them and delete their data: millrace reset --name {name}"""


class OrdersDemo:
    """The demo of a dataset whose orders the application `streams.orders` completes.

    Args:
        folder: folder for the workers' data and all logs.
    """

    measured_s = MEASURED_S

    def __init__(self, definition: Definition, plan: Plan, folder: Path) -> None:
        self._definition = definition
        self._plan = plan
        self._folder = folder

    def plan_text(self, total_s: float, proof: str) -> str:
        """Describe what the demo will do; `proof` names the file of its result."""
        plan = self._plan
        return PLAN.format(
            total=duration(total_s), orders=plan.orders, customers=plan.customers, live=LIVE_ORDERS, proof=proof
        )

    def kept_text(self, stack: str) -> str:
        """Describe what can be done with the servers of a stack that goes on."""
        return KEPT.format(name=stack)

    def run(self, stack: Stack, progress: Progress, interruption: Interruption, save: Callable[[Proof], None]) -> Proof:
        """Run both parts on the servers of a stack, which are started.

        Raises:
            StackError: a server could not be started, or the stream's part failed.
        """
        environment, definition = stack.environment(), self._definition
        *workers, archive = self._workers(environment)
        stream = StreamPart(
            definition=definition, plan=self._plan, environment=environment, workers=workers, progress=progress
        )
        customers = CustomersFile(definition.name, self._plan)
        lake = OrdersLake(
            definition=definition,
            environment=environment,
            logs=self._folder / "logs",
            progress=progress,
            plan=self._plan,
            customers=customers,
            archive=archive,
        )
        programs = lake_programs(stack.site.cache)
        with customers, Servers(stack, progress, interruption, background=programs) as servers:
            return run_demo(servers=servers, stream=stream, lake=lake, progress=progress, save=save)

    def _workers(self, environment: dict[str, str]) -> list[Worker]:
        """Return two workers that complete orders, and the one of the archive."""
        ports = free_ports(["worker-1", "worker-2", "archive"])
        return [
            *(
                Worker(web_port=ports[name], environment=environment, folder=self._folder)
                for name in ("worker-1", "worker-2")
            ),
            Worker(
                web_port=ports["archive"],
                environment=environment | ARCHIVE_SETTINGS,
                folder=self._folder / "archive",
                application="streams.archive",
            ),
        ]
