"""The page about the command line, from the argument parsers of the programs.

The usage line is composed here instead of by `argparse`, whose wording and line breaks depend on the Python version.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence

from config.command_line import EXIT_CODES
from config.json_output import MEMBERS
from tests.support.reference.markdown import GENERATED, code, page, table

INTRODUCTION = """\
The commands with their arguments, as their parsers have them; `--help` prints the same. An option that is written
`--name VALUE` takes a value."""


JSON_OUTPUT = """\
With `--json`, a command prints one JSON object on stdout and nothing else; progress and messages go to stderr. Its
member `ok` is true if the exit code is 0. The other members are listed with each command. If the command fails, stdout
has no object, and the reason is on stderr."""


def commands_page(programs: Sequence[argparse.ArgumentParser]) -> str:
    """Return the page about these programs."""
    parts = ["# Command line", GENERATED, INTRODUCTION]
    parts += ["## Exit codes", table(("code", "meaning"), [(str(number), text) for number, text in EXIT_CODES.items()])]
    parts += ["## JSON output", JSON_OUTPUT]
    for program in programs:
        parts.append(f"## {program.prog}")
        parts += [part for parser in _leaves(program) for part in _command(parser)]
    return page(*parts)


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands that have no subcommands."""
    choices = [each for action in parser._actions if _has_commands(action) for each in _unique(action)]
    if not choices:
        yield parser
    for each in choices:
        yield from _leaves(each)


def _has_commands(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)


def _unique(action: argparse.Action) -> list[argparse.ArgumentParser]:
    """Return a parser once, even if it has several names."""
    assert isinstance(action.choices, dict)
    return list(dict.fromkeys(action.choices.values()))


def _command(parser: argparse.ArgumentParser) -> list[str]:
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    own = [action for action in actions if not isinstance(action, argparse._HelpAction)]
    rows = [_row(action, parser) for action in own]
    description = parser.format_help().partition("\n\n")[2] if parser.description is None else parser.description
    arguments = table(("argument", "default", "meaning"), rows) if rows else ""
    members = [(code(name), text) for name, text in (parser.get_default(MEMBERS) or {}).items()]
    printed = [table(("JSON member", "meaning"), members)] if members else []
    return [f"### {parser.prog}", _sentence(description), f"```\n{_usage(parser.prog, own)}\n```", arguments, *printed]


def _usage(program: str, actions: Sequence[argparse.Action]) -> str:
    positional = [action for action in actions if not action.option_strings]
    required = [_spelled(action) for action in actions if action.option_strings and action.required]
    is_optional = any(action.option_strings and not action.required for action in actions)
    options = ["[options]"] if is_optional else []
    return " ".join([program, *required, *options, *(_placed(action) for action in positional)])


def _placed(action: argparse.Action) -> str:
    name = _value(action)
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)


def _value(action: argparse.Action) -> str:
    """Return the placeholder of an argument's value: its metavar, its choices, or its name."""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "{" + ",".join(str(getattr(each, "value", each)) for each in action.choices) + "}"
    return action.dest.upper()


def _spelled(action: argparse.Action) -> str:
    """Return all names of an option, and the placeholder of its value."""
    if not action.option_strings:
        return _value(action)
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    return f"{names} [{_value(action)}]" if action.nargs == "?" else f"{names} {_value(action)}"


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> tuple[str, str, str]:
    """Return an argument, its default and its help; a default that ends the help moves to its own column."""
    names = {**vars(action), "prog": parser.prog}
    text = " ".join(((action.help or "") % names).split())
    match = re.fullmatch(r"(.*\S) \(default: (.*)\)", text)
    if match is None:
        return code(_spelled(action)), _default(action), text
    return code(_spelled(action)), _default(action) or match[2], match[1]


def _default(action: argparse.Action) -> str:
    value = getattr(action.default, "value", action.default)
    if action.nargs == 0 or value in (None, "", argparse.SUPPRESS):
        return ""
    return code(f"{value:g}" if isinstance(value, float) else str(value))


def _sentence(text: str) -> str:
    """Return a help text as sentences: with a capital letter at its beginning and a full stop at its end."""
    text = text.strip()
    return text if not text else text[0].upper() + text[1:].removesuffix(".") + "."
