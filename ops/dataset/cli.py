"""The commands `millrace dataset …`: create, load, generate, simulate and check a dataset."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from config import parsing
from config.command_line import argument
from config.json_output import add_json_option, print_json
from config.settings import KafkaSettings
from ops.connector.repair import repair
from ops.context import settings_environment
from ops.database import connected
from ops.dataset.bulk import OnDuplicate
from ops.dataset.check import check
from ops.dataset.command import add_dataset_command, chosen_database, chosen_definition, generator_parameters, say
from ops.dataset.foreign import command as foreign
from ops.dataset.generator.kinds import write_generated
from ops.dataset.generator.load import load_files, require_empty
from ops.dataset.generator.plan import make_plan
from ops.dataset.load_command import add_load_command
from ops.dataset.newest import NO_LONGER_EXISTS
from ops.dataset.oracle import Verdict
from ops.dataset.schema import create_schema
from stack.errors import StackError

_SIMULATE = "ops.dataset.simulate_command"
"""By its name, because the container image does not have it."""

MOST_SHARE = 0.2
"""Largest share of the complete orders that a repair appends without `--force`."""

FEW_ORDERS = 20
"""Number of orders that a repair appends without `--force`, whatever their share."""

REPAIR_LIMIT_S = 30.0
"""Shortest time that the workers get to process repaired orders."""

_FIGURES = {
    "passed": "whether the comparison passed",
    "strict": "whether every field was compared",
    "complete": "number of complete orders in the database",
    "records": "number of records in order_final",
    "distinct": "number of distinct orders in order_final",
    "duplicates": "number of superfluous records of orders that are repeated",
    "missing": "number of complete orders without a record",
    "unexpected": "number of orders with a record that are not complete in the database",
    "malformed": "number of records that cannot be read",
    "stale": "number of orders whose newest record, in order_final or order_amended, differs from the database",
    "different": "number of orders with other fields than in the database; null without --strict",
    "examples": "some order ids for each of these lists that is not empty",
    "repaired": "number of orders whose rows --repair appended; null without it",
}


def add_commands(subparsers: Any) -> None:
    """Add `dataset` with its subcommands to the parser."""
    dataset = subparsers.add_parser("dataset", help="create, load, generate, simulate and check a dataset")
    commands = dataset.add_subparsers(required=True, metavar="COMMAND")
    _add_init(commands)
    add_load_command(commands)
    _add_generate(commands)
    if importlib.util.find_spec(_SIMULATE) is not None:
        importlib.import_module(_SIMULATE).add_command(commands)
    _add_check(commands)


def _add_init(commands: Any) -> None:
    text = "create the database and its tables if missing; with a URL, draft a dataset from an existing database"
    parser = add_dataset_command(commands, "init", run_init, text)
    parser.add_argument("--drop", action="store_true", help="remove the database and all its rows first")
    foreign.add_options(parser)


def run_init(arguments: argparse.Namespace) -> int:
    """Create the database schema, or, given a URL, draft a dataset from an existing database."""
    if arguments.url is not None:
        return foreign.run(arguments)
    foreign.refuse_without_url(arguments)
    definition, settings = chosen_definition(arguments), chosen_database(arguments)
    with connected(settings) as connection:
        create_schema(connection, definition, drop=arguments.drop)
    tables = ", ".join(table.name for table in definition.tables)
    say(f"{definition.database} at {settings.host}:{settings.port} has the tables {tables}")
    return 0


def _add_generate(commands: Any) -> None:
    parser = add_dataset_command(
        commands, "generate", run_generate, "generate realistic data from a seed, and load it into the tables"
    )
    parser.add_argument("--size", type=float, default=1.0, help="factor for orders and their lines (default: 1)")
    parser.add_argument("--orders", type=int, metavar="COUNT", help="number of orders; overrides --size")
    parser.add_argument(
        "--customers", type=int, metavar="COUNT", help="number of customers (default: from the definition, at any size)"
    )
    parser.add_argument("--seed", type=int, help="seed of all random choices (default: from the definition)")
    parser.add_argument(
        "--incomplete-share", type=float, default=0.0, metavar="SHARE", help="share of orders that lack lines, 0 to 1"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder in which to write and keep the CSV files")
    parser.add_argument("--load", action=argparse.BooleanOptionalAction, default=True, help="load the generated rows")
    parser.add_argument(
        "--on-duplicate",
        type=OnDuplicate,
        choices=[OnDuplicate.FAIL, OnDuplicate.SKIP],
        default=OnDuplicate.FAIL,
        help="if tables already have rows: load nothing (fail, the default), or add only rows with new keys (skip)",
    )


def run_generate(arguments: argparse.Namespace) -> int:
    """Generate CSV files, and load them unless --no-load is given."""
    definition = chosen_definition(arguments)
    parameters = generator_parameters(definition)
    plan = make_plan(
        parameters,
        size=arguments.size,
        orders=arguments.orders,
        customers=arguments.customers,
        seed=arguments.seed,
        incomplete_share=arguments.incomplete_share,
    )
    if not arguments.load and arguments.out is None:
        raise StackError("--no-load needs --out DIR: otherwise the generated files are lost")
    if arguments.load and arguments.on_duplicate is OnDuplicate.FAIL:
        require_empty(chosen_database(arguments), definition)
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        began = time.monotonic()
        folder = arguments.out or Path(temporary)
        paths = write_generated(parameters, plan, folder, say)
        say(f"generated with seed {plan.seed} in {time.monotonic() - began:.1f} s")
        if arguments.load:
            began = time.monotonic()
            load_files(chosen_database(arguments), definition, paths, arguments.on_duplicate, say)
            say(f"loaded in {time.monotonic() - began:.1f} s")
    return 0


def _add_check(commands: Any) -> None:
    text = "compare the orders of the database with order_final and order_amended"
    parser = add_dataset_command(commands, "check", run_check, text)
    parser.add_argument(
        "--timeout",
        type=argument(parsing.interval_or_zero),
        default=0.0,
        metavar="60s",
        help="wait up to this long for missing orders (default: 0)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="also compare every field; use it only if no order changed after it was complete",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="append the rows of missing and stale orders, as they are in the database, to the change topics, and "
        "compare again",
    )
    parser.add_argument(
        "--force", action="store_true", help="with --repair: also if over 20%% of the orders are missing or stale"
    )
    add_json_option(parser, **_FIGURES)


def run_check(arguments: argparse.Namespace) -> int:
    """Compare `order_final` with the database, and repair orders if asked to; return 0 if the comparison passed."""
    if arguments.force and not arguments.repair:
        raise StackError("--force can be used only with --repair")
    verdict = _compared(arguments, timeout_s=arguments.timeout)
    repaired = None
    if arguments.repair:
        repaired = len(verdict.repairable)
        if repaired:
            verdict = _repaired(arguments, verdict)
    exit_code = 0 if verdict.passed else 1
    if arguments.json:
        return print_json(arguments, exit_code=exit_code, **verdict.figures(), repaired=repaired)
    say(describe(verdict))
    return exit_code


def _compared(arguments: argparse.Namespace, *, timeout_s: float) -> Verdict:
    return check(
        chosen_database(arguments),
        KafkaSettings.read(settings_environment(arguments)),
        chosen_definition(arguments),
        strict=arguments.strict,
        with_amendments=True,
        timeout_s=timeout_s,
    )


def _repaired(arguments: argparse.Namespace, verdict: Verdict) -> Verdict:
    """Append the rows of the orders that differ, and compare until they agree or time is up."""
    orders = verdict.repairable
    if len(orders) > max(FEW_ORDERS, verdict.complete * MOST_SHARE) and not arguments.force:
        raise StackError(
            f"{len(orders):,} orders are missing or stale, {verdict.complete:,} are complete in the database; if the "
            f"workers run and this is the right database, run the command with --force"
        )
    kafka = KafkaSettings.read(settings_environment(arguments))
    for table in repair(chosen_database(arguments), kafka.bootstrap, chosen_definition(arguments), orders):
        print(f"{table.table}: {table.rows:,} rows and {table.deletions:,} deletions appended", file=sys.stderr)
    deadline = time.monotonic() + max(arguments.timeout, REPAIR_LIMIT_S)
    while True:
        verdict = _compared(arguments, timeout_s=max(deadline - time.monotonic(), 0.0))
        if not verdict.repairable or time.monotonic() >= deadline:
            return verdict


def describe(verdict: Verdict) -> str:
    """Format the verdict of a check as text."""
    figures = verdict.figures()
    names = ["complete", "records", "distinct", "missing", "duplicates", "unexpected", "malformed", "stale"]
    if verdict.strict:
        names.append("different")
    lines = [f"{name:<11}{figures[name]:>12,}" for name in names]
    for name, examples in figures["examples"].items():
        lines += [f"{name}: {example}" for example in examples]
    if NO_LONGER_EXISTS in verdict.stale.values():
        lines.append("deletions that were not captured are appended by `millrace connector sweep`")
    if verdict.missing or verdict.stale:
        lines.append("`millrace dataset check --repair` reads the missing and stale orders again from the database")
    return "\n".join([*lines, "PASSED" if verdict.passed else "FAILED"])
