"""What the commands `millrace dataset …` share; exit code 0: success, 1: wrong data, 2: the command could not run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from config.dataset import DefinitionError, load_definition
from config.definition import Definition, Generator
from config.engines import engine_of
from config.engines.base import SourceSettings
from config.settings import DatasetSettings
from config.settings_group import SettingsError
from ops.context import add_stack_option, settings_environment
from stack.errors import StackError

CANNOT_RUN = 2


def add_dataset_command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], description: str) -> Any:
    """Add one of the commands `dataset …` with the options that all of them have, and return its parser."""
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


def chosen_definition(arguments: argparse.Namespace) -> Definition:
    """Load the definition of the dataset that the option `--dataset` or the setting DATASET names."""
    return load_definition(arguments.dataset or DatasetSettings.read(settings_environment(arguments)).dataset)


def chosen_database(arguments: argparse.Namespace) -> SourceSettings:
    """Return the settings of the dataset's source database."""
    return engine_of(chosen_definition(arguments)).login(settings_environment(arguments))


def generator_parameters(definition: Definition) -> Generator:
    """Return the parameters of the dataset's data generator, or raise a StackError if it has none."""
    if definition.generator is None:
        raise StackError(f"the definition of dataset {definition.name} has no section `generator`")
    return definition.generator


def say(line: str) -> None:
    """Print a line at once, even if the output goes to a file or a pipe."""
    print(line, flush=True)
