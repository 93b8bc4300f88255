"""The command `millrace dataset simulate`, which changes and deletes orders; it is not part of the container image."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from config import parsing
from config.command_line import argument
from ops.database import connected
from ops.dataset.command import add_dataset_command, chosen_database, chosen_definition, generator_parameters, say
from ops.dataset.shop import Details
from ops.dataset.simulate import simulate
from ops.dataset.simulation import Simulation
from ops.signals import stopped_by_signals


def add_command(commands: Any) -> None:
    """Add the command `simulate`."""
    text = "simulate a live shop until --count, --seconds or Ctrl-C ends it"
    parser = add_dataset_command(commands, "simulate", run_simulate, text)
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--rate", type=float, metavar="PER_SECOND", help="operations per second; the simulation catches up after delays"
    )
    pace.add_argument("--sleep-ms", type=float, metavar="MS", help="pause between operations")
    parser.add_argument("--insert-p", type=float, default=0.7, metavar="P", help="share of new orders (default: 0.7)")
    parser.add_argument("--update-p", type=float, default=0.2, metavar="P", help="share of changes (default: 0.2)")
    parser.add_argument("--delete-p", type=float, default=0.1, metavar="P", help="share of deletions (default: 0.1)")
    parser.add_argument("--count", type=int, help="stop after this many operations")
    parser.add_argument("--seconds", type=argument(parsing.interval_or_zero), metavar="5m", help="stop after this time")
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
    definition = chosen_definition(arguments)
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
    parameters, database = generator_parameters(definition), chosen_database(arguments)
    with connected(database, definition.database, definition.schema) as connection, stopped_by_signals() as stop:
        say(f"seed {simulation.seed}, salt {simulation.salt}")
        say(str(simulate(connection, parameters, simulation, stop=stop, report=say)))
    return 0
