"""Look at every server and worker, and say what is wrong and what to do.

millrace doctor                  all components; exit code 1 if one of them is wrong
millrace doctor kafka connect    only these
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from config import parsing
from config.command_line import argument
from config.engines.faults import EngineError
from config.errors import OperatorError
from config.json_output import add_json_option, print_json
from config.settings import DatasetSettings
from config.settings_group import SettingsError
from ops.context import add_stack_option, definition_of, settings_environment
from ops.doctor import programs, servers
from ops.doctor.finding import Check, Finding, State, Subject, unused, wrong
from streams.adapters.redis import RedisAwayError
from streams.model.errors import SinkAwayError

CHECKS: Final[Mapping[str, Check]] = {
    "database": servers.database,
    "kafka": servers.kafka,
    "connect": programs.connect,
    "redis": servers.redis,
    "minio": servers.minio,
    "spark": programs.spark,
    "faust": programs.faust,
    "warehouse": servers.warehouse,
}
"""The components, in the order of a change's way."""

_ADDRESSES: Final = {RedisAwayError: "REDIS_URL", SinkAwayError: "MINIO_ENDPOINT"}
"""Errors of clients that workers use too, whose messages have no remedy, and the setting with the address."""


def add_commands(subparsers: Any) -> None:
    """Add `doctor`."""
    text = "look at every server and worker, and say what is wrong and what to do"
    parser = subparsers.add_parser(
        "doctor",
        help=text,
        description=f"{text}; exit code 1 if a component is wrong. A component that is not named and has no settings "
        "here counts as unused.",
    )
    parser.add_argument(
        "components",
        nargs="*",
        metavar="COMPONENT",
        type=argument(parsing.one_of(*CHECKS)),
        help=f"{', '.join(CHECKS)} (default: all)",
    )
    parser.add_argument("--dataset", help="name of the dataset (default: the setting DATASET)")
    add_stack_option(parser)
    add_json_option(parser, findings="objects with `component`, `state` (ok, warning, wrong or unused) and `text`")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what each component is like, and return 1 if one of them is wrong."""
    environment = settings_environment(arguments)
    definition = definition_of(arguments.dataset or DatasetSettings.read(environment).dataset)
    subject = Subject(definition=definition, environment={**environment, "DATASET": definition.name})
    named = arguments.components
    examined = examine(subject, named or list(CHECKS), are_named=bool(named))
    found: list[tuple[str, Finding]] = []
    for component, finding in examined:
        if not arguments.json:
            first, *more = finding.text.splitlines() or [""]
            print(
                f"{component:<10}{finding.state:<9}{first}", *(f"{'':<19}{line}" for line in more), sep="\n", flush=True
            )
        found.append((component, finding))
    exit_code = 1 if any(finding.state is State.WRONG for _, finding in found) else 0
    if arguments.json:
        findings = [{"component": name, "state": finding.state, "text": finding.text} for name, finding in found]
        return print_json(arguments, exit_code=exit_code, findings=findings)
    return exit_code


def examine(
    subject: Subject, components: Sequence[str], *, are_named: bool, checks: Mapping[str, Check] = CHECKS
) -> Iterator[tuple[str, Finding]]:
    """Look at several components at once; yield each one's findings in the order of the components.

    Args:
        are_named: whether missing settings are wrong, and not only a sign that a component is not used.
    """

    def findings_of(component: str) -> list[Finding]:
        found: list[Finding] = []
        try:
            found.extend(checks[component](subject))
        except SettingsError as error:
            found.append(_of_settings(error, are_named=are_named))
        except (OperatorError, EngineError) as error:
            found.append(wrong(str(error)))
        except tuple(_ADDRESSES) as error:
            [name] = [name for kind, name in _ADDRESSES.items() if isinstance(error, kind)]
            found.append(wrong(f"{error}; is it running, and is {name} right?"))
        return [each for each in found if each.state is not State.OK] or found

    with ThreadPoolExecutor(len(components)) as threads:
        for component, findings in zip(components, threads.map(findings_of, components), strict=True):
            for finding in findings:
                yield component, finding


def _of_settings(error: SettingsError, *, are_named: bool) -> Finding:
    """Tell a component without any settings from one whose settings are wrong or lack something."""
    unset = [name for name, _, fault in (line.partition(": ") for line in str(error).splitlines()) if _is_unset(fault)]
    if are_named or len(unset) < len(str(error).splitlines()):
        return wrong(str(error))
    return unused(f"{', '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set")


def _is_unset(fault: str) -> bool:
    return fault.startswith("is not set")
