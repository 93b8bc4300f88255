"""The command `millrace demo`."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, Final

from config.command_line import INTERRUPTED
from config.definition import Definition, OrdersGenerator
from config.settings import CacheSettings, DatasetSettings
from demo.changes_demo import ChangesDemo
from demo.interruption import Interruption
from demo.orders_demo import OrdersDemo
from demo.progress import Progress
from demo.proof import LakeProof
from demo.rows import GeneratedRows, ShippedRows
from demo.servers import check_programs, estimates
from ops.context import definition_of
from ops.dataset.command import generator_parameters
from ops.dataset.generator.plan import make_plan
from ops.dataset.shipped import has_shipped_files
from stack.errors import CancelledWorkError, StackError
from stack.local import Stack, stack_folder
from stack.ports import free_ports
from stack.servers import servers_for
from stack.site import REPOSITORY

NAME: Final = "demo"
PROOF: Final = REPOSITORY / ".demo" / "proof.json"


def add_commands(subparsers: Any) -> None:
    """Add the command `demo`."""
    parser = subparsers.add_parser("demo", help="run the whole pipeline on real servers, and print the proof")
    parser.add_argument(
        "--dataset", default=DatasetSettings.read({}).dataset, help="name of the dataset (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=float, default=1.0, help="size of the dataset (default: 1; for project_db, 25,000 orders)"
    )
    parser.add_argument(
        "--customers", type=int, metavar="COUNT", help="number of customers (default: from the definition)"
    )
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
    definition = definition_of(arguments.dataset)
    chosen = chosen_demo(definition, size=arguments.size, customers=arguments.customers)
    expected = estimates(CacheSettings.read().expanded(), chosen.measured_s)
    _write(chosen.plan_text(sum(expected.values()), _shown(PROOF)) + "\n")
    with interruption.deferred():
        stack = _new_stack(is_kept=arguments.keep, engine=definition.engine)
    try:
        check_programs(stack.site, definition.engine)
        progress = Progress(_write, expected)
        proof = chosen.run(stack, progress, interruption, lambda proof: proof.write(PROOF))
        _closing_screen(proof, progress)
        return 0 if proof.passed else 1
    finally:
        _end(stack, interruption, kept_text=chosen.kept_text(NAME) if arguments.keep else None)


def chosen_demo(definition: Definition, *, size: float, customers: int | None) -> OrdersDemo | ChangesDemo:
    """Return the demo that a dataset's definition asks for.

    Raises:
        StackError: the dataset has no generator, or one that its demo does not know; or an option is out of range.
    """
    if definition.generator is None and has_shipped_files(definition):
        return ChangesDemo(definition, ShippedRows(definition), PROOF.parent)
    generator = generator_parameters(definition)
    plan = make_plan(generator, size=size, customers=customers)
    if definition.completes_orders and isinstance(definition.generator, OrdersGenerator):
        return OrdersDemo(definition, plan, PROOF.parent)
    if not isinstance(generator, OrdersGenerator):
        return ChangesDemo(definition, GeneratedRows(definition, generator, plan), PROOF.parent)
    raise StackError(
        f"there is no demo of dataset {definition.name}: with the generator `orders`, it needs `completeness`"
    )


def _new_stack(*, is_kept: bool, engine: str) -> Stack:
    """Create the stack, without the data of an earlier run; unless kept, its servers end with this process."""
    old = Stack.existing(stack_folder(NAME))
    if old is not None:
        old.reset()
    servers = servers_for(engine)
    return Stack.at(stack_folder(NAME), ports=free_ports(), servers=servers, die_with_parent=not is_kept)


def _end(stack: Stack, interruption: Interruption, *, kept_text: str | None) -> None:
    """Stop the servers, or leave them running if that was asked for (`kept_text`) and no signal stopped the demo."""
    if kept_text is not None and interruption.received is None:
        _say_if_possible(kept_text)
        return
    if interruption.received is not None:
        _say_if_possible(f"\n{interruption.received.name}: stopping the servers and workers …")
    with interruption.deferred():
        stack.reset()


def _closing_screen(proof: LakeProof, progress: Progress) -> None:
    progress.say()
    for line in proof.lines():
        progress.say(line)
    progress.say(f"details: {_shown(PROOF)}   logs: {_shown(PROOF.parent)}/")


def _shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _write(text: str) -> None:
    print(text, end="", flush=True)


def _say_if_possible(line: str) -> None:
    with contextlib.suppress(OSError):  # the reader of the output may have exited
        _write(f"{line}\n")
