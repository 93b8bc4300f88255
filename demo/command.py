"""The command `millrace demo`."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, Final

from config.command_line import INTERRUPTED
from config.dataset import load_definition
from config.definition import OrdersGenerator
from config.settings import CacheSettings
from demo.customers import CustomersFile
from demo.interruption import Interruption
from demo.lake import LakePart
from demo.progress import Progress, duration
from demo.proof import Proof
from demo.run import run_demo
from demo.servers import Servers, check_programs, estimates, lake_programs
from demo.stream import LIVE_ORDERS, StreamPart
from demo.workers import Worker
from ops.dataset.generator.plan import Plan, make_plan
from stack.errors import CancelledWorkError
from stack.local import Stack, stack_folder
from stack.ports import free_ports
from stack.site import REPOSITORY

NAME: Final = "demo"
PROOF: Final = REPOSITORY / ".demo" / "proof.json"
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


def add_commands(subparsers: Any) -> None:
    """Add the command `demo`."""
    parser = subparsers.add_parser("demo", help="run the whole pipeline on real servers, and print the proof")
    parser.add_argument(
        "--size", type=float, default=1.0, help="size of the dataset (default: 1, which is 25,000 orders)"
    )
    parser.add_argument("--customers", type=int, metavar="COUNT", help="number of customers (default: 1,000,000)")
    parser.add_argument("--keep", action="store_true", help="leave the servers running at the end, and keep their data")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return 0 only if no order is missing or repeated and the results equal the database.

    SIGINT, SIGTERM and SIGHUP stop the servers and workers, delete their data, and make it return 130.
    """
    PROOF.unlink(missing_ok=True)
    with Interruption() as interruption:
        try:
            return _run(arguments, interruption)
        except (KeyboardInterrupt, CancelledWorkError):
            received = interruption.received
            name = "an interrupt" if received is None else received.name
            _say_if_possible(
                f"stopped by {name}: no server or worker of the demo is running, and their data is deleted"
            )
            return INTERRUPTED


def _run(arguments: argparse.Namespace, interruption: Interruption) -> int:
    definition = load_definition("project_db")
    assert isinstance(definition.generator, OrdersGenerator)
    plan = make_plan(definition.generator, size=arguments.size, customers=arguments.customers)
    expected = estimates(CacheSettings.read().expanded())
    _write(_plan_text(plan, sum(expected.values())) + "\n")
    with interruption.deferred():
        stack = _new_stack(is_kept=arguments.keep)
    try:
        progress = Progress(_write, expected)
        proof = _run_on(stack, plan, progress, interruption)
        _closing_screen(proof, progress)
        return 0 if proof.passed else 1
    finally:
        _end(stack, interruption, is_kept=arguments.keep)


def _run_on(stack: Stack, plan: Plan, progress: Progress, interruption: Interruption) -> Proof:
    check_programs(stack.site)
    definition, environment, folder = load_definition("project_db"), stack.environment(), PROOF.parent
    ports = free_ports(["worker-1", "worker-2", "archive"])
    workers = [
        Worker(web_port=ports[name], environment=environment, folder=folder) for name in ("worker-1", "worker-2")
    ]
    archive = Worker(
        web_port=ports["archive"],
        environment=environment | ARCHIVE_SETTINGS,
        folder=folder / "archive",
        application="streams.archive",
    )
    stream = StreamPart(definition=definition, plan=plan, environment=environment, workers=workers, progress=progress)
    customers = CustomersFile(definition.name, plan)
    lake = LakePart(
        definition=definition,
        plan=plan,
        environment=environment,
        customers=customers,
        archive=archive,
        logs=folder / "logs",
        progress=progress,
    )
    with customers, Servers(stack, progress, interruption, background=lake_programs(stack.site.cache)) as servers:
        return run_demo(
            servers=servers, stream=stream, lake=lake, progress=progress, save=lambda proof: proof.write(PROOF)
        )


def _new_stack(*, is_kept: bool) -> Stack:
    """Create the stack, without the data of an earlier run; unless kept, its servers end with this process."""
    old = Stack.existing(stack_folder(NAME))
    if old is not None:
        old.reset()
    return Stack.at(stack_folder(NAME), ports=free_ports(), die_with_parent=not is_kept)


def _end(stack: Stack, interruption: Interruption, *, is_kept: bool) -> None:
    """Stop the servers, or leave them running if that was asked for and no signal stopped the demo."""
    if is_kept and interruption.received is None:
        _say_if_possible(KEPT.format(name=NAME))
        return
    if interruption.received is not None:
        _say_if_possible(f"\n{interruption.received.name}: stopping the servers and workers …")
    with interruption.deferred():
        stack.reset()


def _closing_screen(proof: Proof, progress: Progress) -> None:
    progress.say()
    for line in proof.lines():
        progress.say(line)
    progress.say(f"details: {_shown(PROOF)}   logs: {_shown(PROOF.parent)}/")


def _plan_text(plan: Plan, total_s: float) -> str:
    return PLAN.format(
        total=duration(total_s), orders=plan.orders, customers=plan.customers, live=LIVE_ORDERS, proof=_shown(PROOF)
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _write(text: str) -> None:
    print(text, end="", flush=True)


def _say_if_possible(line: str) -> None:
    with contextlib.suppress(OSError):  # the reader of the output may have exited
        _write(f"{line}\n")
