"""The commands `python -m stack dataset …`; exit code 0: success, 1: wrong data, 2: the command could not run."""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from config.dataset import DefinitionError, load_definition
from config.definition import Definition, OrdersGenerator
from config.settings import DatabaseSettings, DatasetSettings, KafkaSettings, SettingsError
from ops.context import add_stack_option, settings_environment
from ops.dataset.bulk import OnDuplicate
from ops.dataset.check import check
from ops.dataset.database import connected
from ops.dataset.foreign import command as foreign
from ops.dataset.generator.files import TABLES, write_files
from ops.dataset.generator.load import load_files, require_empty
from ops.dataset.generator.plan import make_plan
from ops.dataset.load import Outcome, load_file
from ops.dataset.oracle import Verdict
from ops.dataset.schema import create_schema
from ops.dataset.shop import Details
from ops.dataset.simulate import simulate
from ops.dataset.simulation import Simulation
from stack.errors import StackError

CANNOT_RUN = 2


def add_commands(subparsers: Any) -> None:
    """Add `dataset` with its subcommands to the parser of `python -m stack`."""
    dataset = subparsers.add_parser("dataset", help="create, load, generate, simulate and check a dataset")
    commands = dataset.add_subparsers(required=True, metavar="COMMAND")
    _add_init(commands)
    _add_load(commands)
    _add_generate(commands)
    _add_simulate(commands)
    _add_check(commands)


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], description: str) -> Any:
    parser = commands.add_parser(name, help=description, description=description)
    parser.add_argument("--dataset", metavar="NAME", help="name of the dataset (default: the setting DATASET)")
    add_stack_option(parser)
    parser.set_defaults(run=lambda arguments: _guarded(run, arguments))
    return parser


def _guarded(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    try:
        return run(arguments)
    except (StackError, DefinitionError, SettingsError) as error:
        print(error, file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"{error.filename or 'system'}: {error.strerror}", file=sys.stderr)
    return CANNOT_RUN


def _definition(arguments: argparse.Namespace) -> Definition:
    return load_definition(arguments.dataset or DatasetSettings.read(settings_environment(arguments)).dataset)


def _database(arguments: argparse.Namespace) -> DatabaseSettings:
    return DatabaseSettings.read(settings_environment(arguments))


def _generator(definition: Definition) -> OrdersGenerator:
    if definition.generator is None:
        raise StackError(f"the definition of dataset {definition.name} has no section `generator`")
    return definition.generator


def _say(line: str) -> None:
    print(line, flush=True)


def _add_init(commands: Any) -> None:
    text = "create the database and its tables if missing; with a URL, draft a dataset from an existing database"
    parser = _add(commands, "init", run_init, text)
    parser.add_argument("--drop", action="store_true", help="remove the database and all its rows first")
    foreign.add_options(parser)


def run_init(arguments: argparse.Namespace) -> int:
    """Create the database schema, or, given a URL, draft a dataset from an existing database."""
    if arguments.url is not None:
        return foreign.run(arguments)
    if arguments.force:
        raise StackError("--force can be used only with a URL: it overwrites the folder drafted from it")
    definition, settings = _definition(arguments), _database(arguments)
    with connected(settings) as connection:
        create_schema(connection, definition, drop=arguments.drop)
    tables = ", ".join(table.name for table in definition.tables)
    _say(f"{definition.database} at {settings.host}:{settings.port} has the tables {tables}")
    return 0


def _add_load(commands: Any) -> None:
    parser = _add(
        commands, "load", run_load, "load a CSV file with a header; report rejected rows by line, with exit code 1"
    )
    parser.add_argument("table", metavar="TABLE")
    parser.add_argument("file", type=Path, metavar="FILE.csv")
    parser.add_argument(
        "--on-duplicate",
        type=OnDuplicate,
        choices=list(OnDuplicate),
        default=OnDuplicate.FAIL,
        help="if the key exists: reject the row (fail, the default), keep the existing row (skip), or replace it",
    )
    parser.add_argument("--delimiter", default=",", metavar="CHARACTER", help="field separator (default: a comma)")


def run_load(arguments: argparse.Namespace) -> int:
    """Load one CSV file; return 1 if rows were rejected."""
    definition = _definition(arguments)
    try:
        table = definition.table(arguments.table)
    except KeyError as error:
        raise StackError(error.args[0]) from None
    if len(arguments.delimiter) != 1:
        raise StackError(f"--delimiter must be one character, not {arguments.delimiter!r}")
    with connected(_database(arguments), definition.database) as connection:
        outcome = load_file(
            connection,
            table,
            arguments.file,
            on_duplicate=arguments.on_duplicate,
            delimiter=arguments.delimiter,
            report=_say,
        )
    _say_rejections(arguments.file, outcome)
    _say(f"{arguments.file}: {outcome}")
    return 1 if outcome.rejected else 0


def _say_rejections(path: Path, outcome: Outcome) -> None:
    for row in outcome.examples:
        print(f"{path}: line {row.line}: {row.reason}", file=sys.stderr)
    if outcome.rejected > len(outcome.examples):
        print(f"… and {outcome.rejected - len(outcome.examples):,} more", file=sys.stderr)


def _add_generate(commands: Any) -> None:
    parser = _add(
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
    definition = _definition(arguments)
    parameters = _generator(definition)
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
        require_empty(_database(arguments), definition, TABLES)
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        began = time.monotonic()
        paths = write_files(parameters, plan, arguments.out or Path(temporary), _say)
        _say(f"generated with seed {plan.seed} in {time.monotonic() - began:.1f} s")
        if arguments.load:
            began = time.monotonic()
            load_files(_database(arguments), definition, paths, arguments.on_duplicate, _say)
            _say(f"loaded in {time.monotonic() - began:.1f} s")
    return 0


def _add_simulate(commands: Any) -> None:
    parser = _add(commands, "simulate", run_simulate, "simulate a live shop until --count, --seconds or Ctrl-C ends it")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--rate", type=float, metavar="PER_SECOND", help="operations per second; the simulation catches up after delays"
    )
    pace.add_argument("--sleep-ms", type=float, metavar="MS", help="pause between operations")
    parser.add_argument("--insert-p", type=float, default=0.7, metavar="P", help="share of new orders (default: 0.7)")
    parser.add_argument("--update-p", type=float, default=0.2, metavar="P", help="share of changes (default: 0.2)")
    parser.add_argument("--delete-p", type=float, default=0.1, metavar="P", help="share of deletions (default: 0.1)")
    parser.add_argument("--count", type=int, help="stop after this many operations")
    parser.add_argument("--seconds", type=float, help="stop after this many seconds")
    parser.add_argument(
        "--details",
        type=Details,
        choices=list(Details),
        default=Details.SAME,
        help="when an order's lines are committed: with the order (same, the default), later, or mixed (also earlier)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of all random choices (default: 1)")
    parser.add_argument("--salt", help="salt of the order ids (default: random, so that a seed can be reused)")


def run_simulate(arguments: argparse.Namespace) -> int:
    """Simulate a live shop on the source database, and print a summary."""
    definition = _definition(arguments)
    simulation = Simulation(
        insert_p=arguments.insert_p,
        update_p=arguments.update_p,
        delete_p=arguments.delete_p,
        rate_per_s=arguments.rate,
        sleep_ms=arguments.sleep_ms,
        count=arguments.count,
        seconds=arguments.seconds,
        details=arguments.details,
        seed=arguments.seed,
        salt=arguments.salt or secrets.token_hex(8),
    )
    parameters, stop = _generator(definition), threading.Event()
    with connected(_database(arguments), definition.database) as connection, _stopped_by_signals(stop):
        _say(f"seed {simulation.seed}, salt {simulation.salt}")
        _say(str(simulate(connection, parameters, simulation, stop=stop, report=_say)))
    return 0


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM end the simulation between two operations, never inside a transaction."""
    former = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _add_check(commands: Any) -> None:
    parser = _add(commands, "check", run_check, "compare the complete orders of the database with order_final")
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="SECONDS", help="wait up to this long for missing orders"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="also compare every field; use it only if no order changed after it was complete",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run_check(arguments: argparse.Namespace) -> int:
    """Compare `order_final` with the database; return 0 if the comparison passed."""
    verdict = check(
        _database(arguments),
        KafkaSettings.read(settings_environment(arguments)),
        _definition(arguments),
        strict=arguments.strict,
        timeout_s=arguments.timeout,
    )
    _say(json.dumps(verdict.figures()) if arguments.json else describe(verdict))
    return 0 if verdict.passed else 1


def describe(verdict: Verdict) -> str:
    """Format the verdict of a check as text."""
    figures = verdict.figures()
    names = ["complete", "records", "distinct", "missing", "duplicates", "unexpected", "malformed"]
    if verdict.strict:
        names.append("different")
    lines = [f"{name:<11}{figures[name]:>12,}" for name in names]
    for name, examples in figures["examples"].items():
        lines += [f"{name}: {example}" for example in examples]
    return "\n".join([*lines, "PASSED" if verdict.passed else "FAILED"])
