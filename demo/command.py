"""The command `python -m stack demo`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from demo.run import Demo, Parameters
from stack.local import Stack, stack_folder
from stack.ports import free_ports
from stack.site import REPOSITORY

NAME = "demo"
PROOF = REPOSITORY / ".demo" / "proof.json"
PLAN = """\
Millrace demo: from database commits to complete orders, each exactly once, and a lake that equals the database, on real
servers on this machine.

It will
  1. start MariaDB, Kafka, Kafka Connect with Debezium, Redis and MinIO (downloaded once, on separate ports);
  2. create the shop's database and load it: {orders};
  3. create the topics and register the Debezium connector;
  4. start two Faust workers, and kill one of them (SIGKILL) while they work;
  5. place 300 live orders and measure the time from their commit to order_final;
  6. compare order_final with the database;
  7. archive every change in object storage, and fill the lake from there: Bronze, Silver, Gold;
  8. compare the lake with the database, row by row, and print the proof ({proof}).
"""

KEPT = """\
the servers are still running. To look around:
  eval "$(python -m stack env --name {name})"
  faust -A streams.orders worker --web-port 6066     # http://127.0.0.1:6066/stats/ and /orders/<order id>/
  python -m stack dataset simulate --name {name} --rate 50
  faust -A streams.archive worker --web-port 6071    # and in another shell:
  python -m batch run --every 10s                    # python -m batch sql "select * from fact_orders"
to stop them and delete their data: python -m stack reset --name {name}"""


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
    """Run the demo; return 0 only if no order is missing or repeated and the results equal the database."""
    orders = f"size {arguments.size:g} ({25_000 * arguments.size:,.0f} orders)"
    _say(PLAN.format(orders=orders, proof=_shown(PROOF)))
    PROOF.unlink(missing_ok=True)
    old = Stack.existing(stack_folder(NAME))
    if old is not None:
        old.reset()
    stack = Stack.at(stack_folder(NAME), ports=free_ports())
    try:
        return _run_on(stack, arguments)
    finally:
        if arguments.keep:
            _say(KEPT.format(name=NAME))
        else:
            stack.reset()


def _run_on(stack: Stack, arguments: argparse.Namespace) -> int:
    _say("→ start the servers")
    began = time.monotonic()
    stack.up(_say)
    started = round(time.monotonic() - began, 2)
    ports = free_ports(["worker-1", "worker-2", "archive"])
    parameters = Parameters(
        size=arguments.size,
        customers=arguments.customers,
        web_ports=(ports["worker-1"], ports["worker-2"]),
        archive_port=ports["archive"],
        folder=PROOF.parent,
    )
    demo = Demo(stack, parameters, _say)
    demo.proof.seconds_per_phase["servers"] = started
    proof = demo.run()
    proof.write(PROOF)
    _say("")
    for line in proof.lines():
        _say(line)
    _say(f"\nproof: {_shown(PROOF)}   worker logs: {', '.join(_shown(w.log) for w in demo.workers)}")
    _say(
        "available during the run: "
        + "  ".join(f"{worker.url}/stats/" for worker in demo.workers)
        + f"  {demo.connect_url}/connectors"
    )
    if not arguments.keep:
        _say("to look around in the running servers: make demo KEEP=1")
    return 0 if proof.passed else 1


def _shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _say(line: str) -> None:
    print(line, flush=True)
